//! Methods of values, and which of them the sandbox lets a template reach.

mod cases;
mod split;
mod strings;

use std::rc::Rc;

use crate::error::{ErrorKind, Fault, Res};
use crate::eval::{Interp, args_error};
use crate::text::{LITERAL, Str};
use crate::value::{CallArgs, LoopState, Value, View};

pub(crate) use cases::Case;
pub(crate) use split::{Ends, line_ranges, split_on, stripped, trimmed};

/// What `getattr(object, name)` finds on a Python object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Method,
    /// It exists, but the sandbox hides it.
    Unsafe,
    None,
}

const STR_METHODS: [&str; 47] = [
    "strip",
    "lstrip",
    "rstrip",
    "split",
    "rsplit",
    "splitlines",
    "startswith",
    "endswith",
    "replace",
    "lower",
    "upper",
    "title",
    "capitalize",
    "swapcase",
    "casefold",
    "find",
    "rfind",
    "index",
    "rindex",
    "count",
    "join",
    "format",
    "format_map",
    "isalpha",
    "isdigit",
    "isdecimal",
    "isnumeric",
    "isalnum",
    "isspace",
    "islower",
    "isupper",
    "istitle",
    "isidentifier",
    "isprintable",
    "isascii",
    "center",
    "ljust",
    "rjust",
    "zfill",
    "partition",
    "rpartition",
    "removeprefix",
    "removesuffix",
    "expandtabs",
    "encode",
    "translate",
    "maketrans",
];

pub(crate) fn method_access(kind: &str, name: &str) -> Access {
    if name.starts_with("__") && name.ends_with("__") {
        return if has_dunder(kind, name) {
            Access::Unsafe
        } else {
            Access::None
        };
    }
    let method = match kind {
        "dict" => match name {
            "get" | "items" | "keys" | "values" | "copy" | "fromkeys" => true,
            "clear" | "pop" | "popitem" | "setdefault" | "update" => return Access::Unsafe,
            _ => false,
        },
        "str" => STR_METHODS.contains(&name),
        "Markup" => {
            STR_METHODS.contains(&name) || matches!(name, "unescape" | "striptags" | "escape")
        }
        "list" => match name {
            "count" | "index" | "copy" => true,
            "append" | "clear" | "extend" | "insert" | "pop" | "remove" | "reverse" | "sort" => {
                return Access::Unsafe;
            }
            _ => false,
        },
        "tuple" | "range" => matches!(name, "count" | "index"),
        "int" | "bool" => matches!(
            name,
            "bit_length"
                | "bit_count"
                | "conjugate"
                | "is_integer"
                | "as_integer_ratio"
                | "to_bytes"
                | "from_bytes"
        ),
        "float" => {
            matches!(
                name,
                "is_integer" | "hex" | "fromhex" | "as_integer_ratio" | "conjugate"
            )
        }
        "dict_keys" | "dict_items" => name == "isdisjoint",
        "Cycler" => matches!(name, "next" | "reset"),
        _ => false,
    };
    if method { Access::Method } else { Access::None }
}

/// Attributes that every Python object has, and the container protocol.
fn has_dunder(kind: &str, name: &str) -> bool {
    match name {
        "__class__" | "__delattr__" | "__dir__" | "__doc__" | "__eq__" | "__format__"
        | "__ge__" | "__getattribute__" | "__getstate__" | "__gt__" | "__hash__" | "__init__"
        | "__init_subclass__" | "__le__" | "__lt__" | "__ne__" | "__new__" | "__reduce__"
        | "__reduce_ex__" | "__repr__" | "__setattr__" | "__sizeof__" | "__str__"
        | "__subclasshook__" => true,
        "__len__" | "__iter__" | "__contains__" | "__getitem__" => {
            matches!(kind, "str" | "Markup" | "list" | "tuple" | "dict" | "range")
        }
        "__add__" | "__mul__" | "__rmul__" => {
            matches!(
                kind,
                "str" | "Markup" | "list" | "tuple" | "int" | "float" | "bool"
            )
        }
        "__setitem__" | "__delitem__" => matches!(kind, "list" | "dict"),
        "__mod__" | "__rmod__" => matches!(kind, "str" | "Markup" | "int" | "float" | "bool"),
        "__bool__" => matches!(kind, "int" | "float" | "bool" | "NoneType"),
        "__call__" | "__globals__" | "__code__" | "__dict__" | "__func__" | "__self__" => {
            matches!(kind, "function" | "Macro" | "LoopContext" | "Joiner")
        }
        "__module__" => !matches!(kind, "str" | "list" | "tuple" | "dict" | "int" | "float"),
        "__html__" => kind == "Markup",
        _ => false,
    }
}

/// An argument that must be text.
pub(crate) fn text_arg<'t>(value: Value<'t>, function: &str) -> Res<Str<'t>> {
    match value {
        Value::Str(text) => Ok(text),
        other => Err(args_error(
            function,
            &format!("argument must be str, not {}", other.type_name()),
        )),
    }
}

/// An argument that must be an integer.
pub(crate) fn int_arg(value: &Value<'_>, function: &str) -> Res<i64> {
    crate::eval::index_value(value).ok_or_else(|| {
        let problem = format!("argument must be an integer, not {}", value.type_name());
        args_error(function, &problem)
    })
}

fn required<'t>(value: Option<Value<'t>>, function: &str) -> Res<Value<'t>> {
    value.ok_or_else(|| args_error(function, "is missing an argument"))
}

impl<'t> Interp<'t> {
    pub(crate) fn call_method(
        &mut self,
        object: &Value<'t>,
        name: &str,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        self.step()?;
        self.work_on(object)?;
        match object {
            Value::Str(text) => self.str_method(&text.clone(), name, args),
            Value::Map(_) | Value::Data(crate::data::Data::Map(_), _) => {
                self.dict_method(object, name, args)
            }
            Value::Loop(state) => self.loop_method(&state.clone(), name, args),
            Value::Cycler(state) => {
                args.none(name)?;
                let at = state.1.get();
                if name == "reset" {
                    state.1.set(0);
                    return Ok(Value::None(LITERAL));
                }
                state.1.set((at + 1) % state.0.len());
                Ok(state.0[at].clone())
            }
            Value::Float(number, _) if name == "is_integer" => {
                args.none(name)?;
                Ok(Value::bool(number.is_finite() && number.fract() == 0.0))
            }
            Value::Int(number, _) if name == "bit_length" => {
                args.none(name)?;
                Ok(Value::int(i64::from(
                    64 - number.unsigned_abs().leading_zeros(),
                )))
            }
            Value::Int(..) | Value::Bool(..) if name == "is_integer" => {
                args.none(name)?;
                Ok(Value::bool(true))
            }
            _ => match name {
                "count" | "index" => self.sequence_method(object, name, args),
                "copy" => {
                    args.none(name)?;
                    Ok(Value::list(self.collect(object)?))
                }
                _ => Err(Fault::new(
                    ErrorKind::Unsupported,
                    format!(
                        "method '{name}' of '{}' is not supported",
                        object.type_name()
                    ),
                )),
            },
        }
    }

    fn dict_method(
        &mut self,
        object: &Value<'t>,
        name: &str,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        let view = |view| Ok(Value::View(view, Rc::new(object.clone())));
        match name {
            "get" => {
                if !args.kw.is_empty() {
                    return Err(args_error("get", "takes no keyword arguments"));
                }
                let [key, default] = args.bind("get", ["key", "default"])?;
                let key = required(key, "get")?;
                crate::ops::check_hashable(&key)?;
                let found = match (object, &key) {
                    (Value::Map(entries), _) => {
                        self.budget.steps(entries.len() / 8)?;
                        let mut found = None;
                        for (known, value) in entries.iter() {
                            if crate::ops::equal(known, &key, 0)? {
                                found = Some(value.clone());
                                break;
                            }
                        }
                        found
                    }
                    (_, Value::Str(key)) => self.map_item(object, key.as_str()),
                    _ => None,
                };
                Ok(found.or(default).unwrap_or(Value::None(LITERAL)))
            }
            "items" => args.none(name).and_then(|()| view(View::Items)),
            "keys" => args.none(name).and_then(|()| view(View::Keys)),
            "values" => args.none(name).and_then(|()| view(View::Values)),
            "copy" => {
                args.none(name)?;
                Ok(object.clone())
            }
            _ => {
                let [keys, value] = args.bind("fromkeys", ["iterable", "value"])?;
                let keys = required(keys, "fromkeys")?;
                let value = value.unwrap_or(Value::None(LITERAL));
                let mut entries = Vec::new();
                for key in self.collect(&keys)? {
                    crate::ops::check_hashable(&key)?;
                    self.budget.steps(entries.len())?;
                    crate::eval::insert_entry(&mut entries, key, value.clone())?;
                }
                Ok(Value::Map(Rc::new(entries)))
            }
        }
    }

    fn loop_method(
        &mut self,
        state: &LoopState<'t>,
        name: &str,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        if name == "cycle" {
            if args.pos.is_empty() {
                return Err(Fault::type_error("no items for cycling given"));
            }
            return Ok(args.pos[state.index0.get() % args.pos.len()].clone());
        }
        let before = state.changed.replace(Some(args.pos.clone()));
        let Some(before) = before else {
            return Ok(Value::bool(true));
        };
        let (before, now) = (
            Value::Tuple(Rc::new(before)),
            Value::Tuple(Rc::new(args.pos)),
        );
        self.equal(&before, &now).map(|same| Value::bool(!same))
    }

    fn sequence_method(
        &mut self,
        object: &Value<'t>,
        name: &str,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        let [wanted, start, stop] = args.bind("index", ["value", "start", "stop"])?;
        let wanted = required(wanted, name)?;
        let items = self.collect(object)?;
        let len = items.len() as i64;
        let bound = |value: Option<Value<'t>>, default: i64| -> Res<i64> {
            let Some(value) = value else {
                return Ok(default);
            };
            let at = int_arg(&value, name)?;
            Ok(if at < 0 { (at + len).max(0) } else { at })
        };
        let (start, stop) = (bound(start, 0)?, bound(stop, len)?);
        let mut count = 0;
        for (index, item) in items.iter().enumerate() {
            if self.equal(item, &wanted)? {
                if name == "index" && (start..stop).contains(&(index as i64)) {
                    return Ok(Value::int(index as i64));
                }
                count += 1;
            }
        }
        if name == "index" {
            return Err(Fault::value_error("value is not in list"));
        }
        Ok(Value::int(count))
    }
}
