//! Private data: e-mail addresses, telephone numbers, card numbers, social security numbers.

/// Where private data stands and what it looks like.
pub fn private_data(text: &str) -> Option<(usize, &'static str)> {
    let bytes = text.as_bytes();
    let mut found: Option<(usize, &'static str)> = None;
    let mut meet = |at: usize, kind| {
        if found.is_none_or(|(known, _)| at < known) {
            found = Some((at, kind));
        }
    };
    for (at, _) in text.match_indices('@') {
        if let Some(start) = address(bytes, at) {
            meet(start, "e-mail address");
            break;
        }
    }
    let mut at = 0;
    while at < bytes.len() {
        let begins = bytes[at].is_ascii_digit() || matches!(bytes[at], b'+' | b'(');
        let free = at == 0
            || !(bytes[at - 1].is_ascii_alphanumeric()
                || matches!(bytes[at - 1], b'.' | b'-' | b'/' | b'_'));
        if !(begins && free) {
            at += 1;
            continue;
        }
        let run = bytes[at..]
            .iter()
            .take_while(|b| {
                b.is_ascii_digit() || matches!(b, b' ' | b'-' | b'(' | b')' | b'+' | b'.')
            })
            .count();
        let number = text[at..at + run].trim_end_matches([' ', '-', '.', '(', ')', '+']);
        if let Some(kind) = number_kind(number) {
            meet(at, kind);
            break;
        }
        at += run.max(1);
    }
    found
}

/// Start of the e-mail address around an `@`.
fn address(bytes: &[u8], at: usize) -> Option<usize> {
    let local =
        |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-' | b'%');
    let before = bytes[..at].iter().rev().take_while(local).count();
    let domain = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    let after = &bytes[at + 1..][..bytes[at + 1..].iter().take_while(domain).count()];
    let after = after.strip_suffix(b".").unwrap_or(after);
    let mut labels = after.rsplit(|b| *b == b'.');
    let top = labels.next()?;
    let named = labels.next().is_some_and(|label| !label.is_empty());
    let is_top = top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic);
    (before > 0 && named && is_top).then_some(at - before)
}

fn number_kind(number: &str) -> Option<&'static str> {
    let digits: Vec<u8> = number
        .bytes()
        .filter(u8::is_ascii_digit)
        .map(|b| b - b'0')
        .collect();
    let groups: Vec<usize> = number
        .split(|c: char| !c.is_ascii_digit())
        .map(str::len)
        .filter(|length| *length > 0)
        .collect();
    let plain = !number.contains(['(', ')', '+', '.']);
    if (13..=19).contains(&digits.len())
        && plain
        && luhn(&digits)
        && digits[0] >= 3
        && spread(&groups)
    {
        return Some("card number");
    }
    if groups == [3, 2, 4] && number.matches('-').count() == 2 && digits[..3] != [0, 0, 0] {
        return Some("social security number");
    }
    let international = number.starts_with('+') && (9..=15).contains(&digits.len());
    let local = groups == [3, 3, 4] || groups == [1, 3, 3, 4];
    let marked = number.contains(['(', '-', '+']) || number.contains('.') && local;
    let sum = number.contains(" + ") || number.contains(" - ");
    (!sum && (international || local && marked)).then_some("telephone number")
}

/// Groups as cards have them.
fn spread(groups: &[usize]) -> bool {
    matches!(
        groups,
        [13..=19] | [4, 4, 4, 1..=4] | [4, 6, 4 | 5] | [4, 4, 4, 4, 1..=3]
    )
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let value = u32::from(*digit) * (1 + (at as u32 & 1));
            value / 10 + value % 10
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != digits[0])
}

#[cfg(test)]
mod tests {
    use super::private_data;

    #[test]
    fn private_data_and_other_numbers() {
        let kind = |text| private_data(text).map(|(_, kind)| kind);
        assert_eq!(
            private_data("Mail jane.doe51@example.com."),
            Some((5, "e-mail address"))
        );
        assert_eq!(
            kind("Card number 4111 1111 1111 1111, ref 29."),
            Some("card number")
        );
        assert_eq!(kind("Call (555) 123-4567 now"), Some("telephone number"));
        assert_eq!(kind("Call +49 30 1234567"), Some("telephone number"));
        assert_eq!(kind("SSN 123-45-6789"), Some("social security number"));
        for text in [
            "2021-03-04",
            "1234567890123",
            "3.14159265358979",
            "a@b",
            "x = y @ z.T",
            "100 - 200 - 3000",
            "299,792,458",
            "1 + 2",
            "192.168.100.1",
            "5555 5555 5555 5556",
            "@user.name",
        ] {
            assert_eq!(kind(text), None, "{text}");
        }
    }
}
