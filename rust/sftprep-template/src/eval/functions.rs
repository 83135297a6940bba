//! Global functions of the template environment.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{Interp, args_error};
use crate::error::{ErrorKind, Fault, Res};
use crate::limits::MAX_RANGE;
use crate::ops::{check_hashable, equal, undefined_error};
use crate::text::{LITERAL, Str};
use crate::value::{CallArgs, Fields, Func, Value, range_len};

/// Namespaces refuse names that could reach Python's internals.
pub(super) fn check_namespace_name(name: &str) -> Res<()> {
    if name.starts_with('_') {
        let message = format!(
            "chat templates cannot store underscore-prefixed attributes on a namespace, \
             but got '{name}'"
        );
        return Err(Fault::new(ErrorKind::Security, message));
    }
    Ok(())
}

/// Sets a key of an object under construction.
pub(crate) fn insert_entry<'t>(
    entries: &mut Vec<(Value<'t>, Value<'t>)>,
    key: Value<'t>,
    value: Value<'t>,
) -> Res<()> {
    for (known, slot) in entries.iter_mut() {
        if equal(known, &key, 0)? {
            *slot = value;
            return Ok(());
        }
    }
    entries.push((key, value));
    Ok(())
}

impl<'t> Interp<'t> {
    pub(super) fn call_function(&mut self, func: Func, args: CallArgs<'t>) -> Res<Value<'t>> {
        match func {
            Func::Range => self.range(args),
            Func::Dict => {
                let entries = self.build_dict("dict", args)?;
                Ok(Value::Map(Rc::new(entries)))
            }
            Func::Namespace => {
                let fields = if args.pos.is_empty() {
                    self.charge(args.kw.len() * 64)?;
                    args.kw
                } else {
                    let named = |(key, value)| match key {
                        Value::Str(name) => Ok((name, value)),
                        _ => Err(Fault::type_error("namespace attributes must be strings")),
                    };
                    let entries = self.build_dict("namespace", args)?.into_iter();
                    entries.map(named).collect::<Res<Fields<'t>>>()?
                };
                for (name, _) in &fields {
                    check_namespace_name(name.as_str())?;
                }
                let namespace = Rc::new(RefCell::new(fields));
                self.namespaces.push(namespace.clone());
                self.charge(128)?;
                Ok(Value::Namespace(namespace))
            }
            Func::Raise => {
                let [message] = args.bind("raise_exception", ["message"])?;
                let message =
                    message.ok_or_else(|| args_error("raise_exception", "needs a message"))?;
                let mut out = self.buffer(0);
                self.write_str(&message, &mut out)?;
                Err(Fault::new(ErrorKind::Raised, out.text))
            }
            Func::StrftimeNow => {
                let [format] = args.bind("strftime_now", ["format"])?;
                let Some(Value::Str(format)) = format else {
                    return Err(args_error("strftime_now", "needs a format string"));
                };
                let text = crate::strftime::strftime(self.clock, format.as_str())?;
                self.charge(text.len())?;
                Ok(Value::text(text, LITERAL))
            }
            Func::Cycler => {
                if args.pos.is_empty() || !args.kw.is_empty() {
                    return Err(args_error("cycler", "needs at least one item"));
                }
                Ok(Value::Cycler(Rc::new((args.pos, Cell::new(0)))))
            }
            Func::Joiner => {
                let [sep] = args.bind("joiner", ["sep"])?;
                let sep = match sep {
                    None => Str::literal(", "),
                    Some(Value::Str(text)) => text,
                    Some(other) => {
                        let mut out = self.buffer(0);
                        self.write_str(&other, &mut out)?;
                        out.into_str()
                    }
                };
                Ok(Value::Joiner(Rc::new((sep, Cell::new(false)))))
            }
            Func::Lipsum => Err(Fault::new(
                ErrorKind::Unsupported,
                "lipsum() makes random text, which has no place in training data",
            )),
        }
    }

    fn range(&mut self, args: CallArgs<'t>) -> Res<Value<'t>> {
        if !args.kw.is_empty() || args.pos.is_empty() || args.pos.len() > 3 {
            return Err(args_error("range", "needs one to three numbers"));
        }
        let mut numbers = Vec::with_capacity(3);
        for arg in &args.pos {
            match arg {
                Value::Int(value, _) => numbers.push(*value),
                Value::Bool(value, _) => numbers.push(i64::from(*value)),
                _ => {
                    return Err(undefined_error(arg).unwrap_or_else(|| {
                        Fault::type_error(format!(
                            "'{}' object cannot be interpreted as an integer",
                            arg.type_name()
                        ))
                    }));
                }
            }
        }
        let range = match numbers[..] {
            [stop] => (0, stop, 1),
            [start, stop] => (start, stop, 1),
            [start, stop, step] => (start, stop, step),
            _ => (0, 0, 1),
        };
        if range.2 == 0 {
            return Err(Fault::value_error("range() arg 3 must not be zero"));
        }
        if range_len(&range) > MAX_RANGE {
            let message = format!(
                "range of {} items is over the limit of {MAX_RANGE}",
                range_len(&range)
            );
            return Err(Fault::new(ErrorKind::LimitRange, message));
        }
        Ok(Value::Range(Rc::new(range)))
    }

    /// `dict(mapping or pairs, **kwargs)`.
    fn build_dict(&mut self, name: &str, args: CallArgs<'t>) -> Res<Vec<(Value<'t>, Value<'t>)>> {
        let mut entries = Vec::new();
        if args.pos.len() > 1 {
            return Err(args_error(name, "takes at most one positional argument"));
        }
        if let Some(source) = args.pos.first() {
            if crate::ops::is_mapping(source) {
                entries = self.mapping_entries(source)?;
            } else {
                for pair in self.collect(source)? {
                    let pair = self.collect(&pair)?;
                    let [key, value] = &pair[..] else {
                        return Err(args_error(name, "needs pairs of key and value"));
                    };
                    check_hashable(key)?;
                    self.budget.steps(entries.len())?;
                    insert_entry(&mut entries, key.clone(), value.clone())?;
                }
            }
        }
        for (key, value) in args.kw {
            insert_entry(&mut entries, Value::Str(key), value)?;
        }
        self.charge(entries.len() * 64)?;
        Ok(entries)
    }
}
