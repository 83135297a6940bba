//! Answers that can be checked by calculating.

/// Where a calculator mark `<<16-3=13>>` is wrong.
pub fn wrong_calculation(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = text[from..].find("<<") {
        let start = from + found;
        let length = text[start..].find(">>")?;
        let inside = &text[start + 2..start + length];
        if let Some((left, right)) = inside.rsplit_once('=')
            && let (Some(left), Some(right)) = (value(left), value(right))
            && !close(left, right)
        {
            return Some(start);
        }
        from = start + 2;
    }
    None
}

/// Results are rounded by those who write them.
fn close(exact: f64, written: f64) -> bool {
    (exact - written).abs() <= 0.011_f64.max(exact.abs() * 0.005)
}

/// The number that stands after the last of a marker (`####`, `A:`, …); separators, currency and
/// units around it do not count.
pub fn final_number(text: &str, marker: &str) -> Option<f64> {
    let at = text.rfind(marker)?;
    let rest = text[at + marker.len()..].lines().next().unwrap_or_default();
    let start = rest.find(|c: char| c.is_ascii_digit())?;
    let negative = rest[..start]
        .trim_end_matches(['$', '€', '£', ' '])
        .ends_with('-');
    let end = rest[start..].find(|c: char| !(c.is_ascii_digit() || matches!(c, ',' | '.')));
    let digits = &rest[start..end.map_or(rest.len(), |end| start + end)];
    let digits: String = digits
        .trim_end_matches(['.', ','])
        .chars()
        .filter(|c| *c != ',')
        .collect();
    let number: f64 = digits.parse().ok()?;
    Some(if negative { -number } else { number })
}

/// The value of an expression of numbers, `+ - * / ( )` and `%`; `None` if it is none.
fn value(text: &str) -> Option<f64> {
    let skipped = |c: &char| !(c.is_whitespace() || matches!(c, ',' | '$' | '€' | '£'));
    let chars: Vec<char> = text.chars().filter(skipped).collect();
    let mut at = 0;
    let value = sum(&chars, &mut at, 0)?;
    (at == chars.len() && value.is_finite()).then_some(value)
}

/// Brackets within brackets.
const DEPTH: u32 = 30;

fn sum(chars: &[char], at: &mut usize, depth: u32) -> Option<f64> {
    let mut total = product(chars, at, depth)?;
    while let Some(sign @ ('+' | '-')) = chars.get(*at) {
        *at += 1;
        let next = product(chars, at, depth)?;
        total += if *sign == '+' { next } else { -next };
    }
    Some(total)
}

fn product(chars: &[char], at: &mut usize, depth: u32) -> Option<f64> {
    let mut total = factor(chars, at, depth)?;
    while let Some(sign @ ('*' | '/' | 'x' | '×' | '÷')) = chars.get(*at) {
        *at += 1;
        let next = factor(chars, at, depth)?;
        total = if matches!(sign, '/' | '÷') {
            total / next
        } else {
            total * next
        };
    }
    Some(total)
}

fn factor(chars: &[char], at: &mut usize, depth: u32) -> Option<f64> {
    let mut sign = 1.0;
    while chars.get(*at) == Some(&'-') {
        sign = -sign;
        *at += 1;
    }
    let mut value = if chars.get(*at) == Some(&'(') && depth < DEPTH {
        *at += 1;
        let value = sum(chars, at, depth + 1)?;
        if chars.get(*at) != Some(&')') {
            return None;
        }
        *at += 1;
        value
    } else {
        let is_digit = |c: &&char| c.is_ascii_digit() || **c == '.';
        let digits: String = chars.get(*at..)?.iter().take_while(is_digit).collect();
        *at += digits.len();
        digits.parse().ok()?
    };
    if chars.get(*at) == Some(&'%') {
        *at += 1;
        value /= 100.0;
    }
    Some(sign * value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_recalculated() {
        assert_eq!(
            wrong_calculation("16 - 3 = <<16-3=13>>13, <<2*(3+4)=14>>"),
            None
        );
        assert_eq!(wrong_calculation("so <<16-3-4=10>>10"), Some(3));
        assert_eq!(
            wrong_calculation("<<20%*50=10>> <<1/3=.33>> <<5*-2=-10>>"),
            None
        );
        assert_eq!(wrong_calculation("cout << x << y >> z; <<a=b>> << "), None);
        assert_eq!(wrong_calculation("<<1/0=3>>"), None);
    }

    #[test]
    fn final_numbers() {
        assert_eq!(final_number("so\n#### 1,234", "####"), Some(1234.0));
        assert_eq!(final_number("A: -$5.50.", "A:"), Some(-5.5));
        assert_eq!(final_number("#### 7\nmore 8", "####"), Some(7.0));
        assert_eq!(final_number("no mark 5", "####"), None);
    }
}
