//! Markup, the text that `|safe` makes: joining it with plain text escapes the plain text.

use crate::out::{Out, merge_tags};
use crate::text::{Str, Tag};

fn entity(c: char) -> Option<&'static str> {
    Some(match c {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&#34;",
        '\'' => "&#39;",
        _ => return None,
    })
}

/// Appends `text` HTML-escaped, each entity with the origin of its character.
pub(crate) fn escape_into(text: &Str<'_>, out: &mut Out, tag: Tag) {
    let whole = text.as_str();
    text.each_run(|range, origin, src, own| {
        let tag = merge_tags(own, tag);
        let mut from = range.start;
        for (at, c) in whole[range.clone()].char_indices() {
            let Some(entity) = entity(c) else { continue };
            let at = range.start + at;
            push_from(
                out,
                &whole[from..at],
                origin,
                src,
                (from - range.start) as u32,
                tag,
            );
            out.push(entity, origin, crate::text::INEXACT, tag);
            from = at + 1;
        }
        push_from(
            out,
            &whole[from..range.end],
            origin,
            src,
            (from - range.start) as u32,
            tag,
        );
    });
}

fn push_from(out: &mut Out, text: &str, origin: u32, src: u32, by: u32, tag: Tag) {
    let src = if src == crate::text::INEXACT {
        src
    } else {
        src + by
    };
    out.push(text, origin, src, tag);
}

/// `escape(text)`: Markup stays as it is.
pub(crate) fn escape<'t>(text: &Str<'t>, mut out: Out) -> Str<'t> {
    if text.safe() {
        return text.clone();
    }
    escape_into(text, &mut out, 0);
    out.into_str().marked_safe(true)
}
