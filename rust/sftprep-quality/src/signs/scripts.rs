//! In which script a text is written.

/// A script, or a family of scripts that readers take for one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// No letters.
    #[default]
    None,
    /// Latin.
    Latin,
    /// Cyrillic.
    Cyrillic,
    /// Greek.
    Greek,
    /// Han without kana: Chinese.
    Han,
    /// Kana, with or without Han: Japanese.
    Japanese,
    /// Hangul.
    Korean,
    /// Arabic.
    Arabic,
    /// Hebrew.
    Hebrew,
    /// Scripts of India.
    Indic,
    /// Thai, Lao, Khmer, Burmese.
    SouthEastAsian,
    /// All others.
    Other,
}

impl Script {
    /// Name as users see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "no letters",
            Self::Latin => "Latin",
            Self::Cyrillic => "Cyrillic",
            Self::Greek => "Greek",
            Self::Han => "Chinese",
            Self::Japanese => "Japanese",
            Self::Korean => "Korean",
            Self::Arabic => "Arabic",
            Self::Hebrew => "Hebrew",
            Self::Indic => "Indic",
            Self::SouthEastAsian => "South-East Asian",
            Self::Other => "other",
        }
    }
}

/// The script of most letters of a text, and the share of letters that are of it.
///
/// A character of a script without spaces counts as two letters of others.
pub fn main_script(text: &str) -> (Script, f32) {
    let mut counts = [0_u32; 12];
    let ascii = text.bytes().filter(u8::is_ascii_alphabetic).count();
    counts[Script::Latin as usize] = ascii as u32;
    if !text.is_ascii() {
        for c in text.chars().filter(|c| !c.is_ascii() && c.is_alphabetic()) {
            let script = script_of(c);
            let wide = matches!(script, Script::Han | Script::Japanese | Script::Korean);
            counts[script as usize] += 1 + u32::from(wide);
        }
        if counts[Script::Japanese as usize] * 10 > counts[Script::Han as usize] {
            counts[Script::Japanese as usize] += std::mem::take(&mut counts[Script::Han as usize]);
        }
    }
    let total: u32 = counts.iter().sum();
    let most = counts
        .iter()
        .enumerate()
        .max_by_key(|(at, count)| (**count, usize::MAX - at));
    match most {
        Some((at, count)) if total > 0 => (ALL[at], *count as f32 / total as f32),
        _ => (Script::None, 0.0),
    }
}

/// Whether a text has a letter of a script.
pub fn has_script(text: &str, script: Script) -> bool {
    match script {
        Script::Latin => text.bytes().any(|byte| byte.is_ascii_alphabetic()),
        _ => text
            .chars()
            .any(|c| c.is_alphabetic() && !c.is_ascii() && script_of(c) == script),
    }
}

const ALL: [Script; 12] = [
    Script::None,
    Script::Latin,
    Script::Cyrillic,
    Script::Greek,
    Script::Han,
    Script::Japanese,
    Script::Korean,
    Script::Arabic,
    Script::Hebrew,
    Script::Indic,
    Script::SouthEastAsian,
    Script::Other,
];

fn script_of(c: char) -> Script {
    match u32::from(c) {
        0x80..=0x24f | 0x1e00..=0x1eff => Script::Latin,
        0x370..=0x3ff | 0x1f00..=0x1fff => Script::Greek,
        0x400..=0x52f => Script::Cyrillic,
        0x590..=0x5ff => Script::Hebrew,
        0x600..=0x6ff | 0x750..=0x77f | 0x8a0..=0x8ff | 0xfb50..=0xfdff | 0xfe70..=0xfeff => {
            Script::Arabic
        }
        0x900..=0xdff => Script::Indic,
        0xe00..=0xeff | 0x1000..=0x109f | 0x1780..=0x17ff => Script::SouthEastAsian,
        0x3040..=0x30ff | 0x31f0..=0x31ff => Script::Japanese,
        0x1100..=0x11ff | 0x3130..=0x318f | 0xac00..=0xd7af => Script::Korean,
        0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff => Script::Han,
        _ => Script::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts() {
        for (text, script) in [
            ("Hello", Script::Latin),
            ("Привет, world", Script::Cyrillic),
            ("我爱北京 ok", Script::Han),
            ("東京に行きます", Script::Japanese),
            ("안녕하세요", Script::Korean),
            ("12 + 3", Script::None),
            ("café élève", Script::Latin),
        ] {
            assert_eq!(main_script(text).0, script, "{text}");
        }
    }
}
