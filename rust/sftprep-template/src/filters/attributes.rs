//! The filter `xmlattr`: a mapping as attributes of an element.

use super::Filter;
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::markup::escape_into;
use crate::out::Out;
use crate::text::{INEXACT, Str};
use crate::tojson::container_origin;
use crate::value::{CallArgs, Value};

impl<'t> Interp<'t> {
    pub(super) fn xmlattr(&mut self, value: &Value<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [autospace] = args.bind(Filter::XmlAttr.name(), ["autospace"])?;
        let autospace = autospace.is_none_or(|given| given.is_true());
        let (tag, origin) = (self.tag(), container_origin(value));
        let mut out = self.buffer(64);
        for (key, value) in self.mapping_entries(value)? {
            self.step()?;
            let key = attribute_name(key, &value)?;
            let Some(key) = key else { continue };
            if autospace || !out.text.is_empty() {
                out.push(" ", origin, INEXACT, tag);
            }
            let text = self.soft_str(&value)?;
            self.charge((key.len() + text.len()).saturating_mul(5))?;
            escaped(&key, &mut out, tag);
            out.push("=\"", origin, INEXACT, tag);
            escaped(&text, &mut out, tag);
            out.push("\"", origin, INEXACT, tag);
        }
        Ok(Value::Str(out.into_str()))
    }
}

/// The name of an attribute; `None` for one that is left out.
fn attribute_name<'t>(key: Value<'t>, value: &Value<'t>) -> Res<Option<Str<'t>>> {
    if value.is_none() || value.is_undefined() {
        return Ok(None);
    }
    let Value::Str(key) = key else {
        let message = format!("xmlattr needs names that are text, not {}", key.type_name());
        return Err(Fault::type_error(message));
    };
    let forbidden = |byte| matches!(byte, b'/' | b'>' | b'=' | b' ' | 9..=13);
    if key.as_str().bytes().any(forbidden) {
        let message = format!("invalid character in attribute name: '{}'", key.as_str());
        return Err(Fault::value_error(message));
    }
    Ok(Some(key))
}

/// Markup is escaped already.
fn escaped(text: &Str<'_>, out: &mut Out, tag: u32) {
    if text.safe() {
        out.push_str(text, tag);
    } else {
        escape_into(text, out, tag);
    }
}
