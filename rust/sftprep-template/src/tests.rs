//! The tests of `is`.

use crate::ast::CmpOp;
use crate::data::Data;
use crate::error::{Fault, Res};
use crate::eval::{Interp, args_error};
use crate::ops::{number, undefined_error, unsupported};
use crate::value::{CallArgs, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    Odd,
    Even,
    DivisibleBy,
    Defined,
    Undefined,
    Filter,
    Named,
    None,
    Boolean,
    False,
    True,
    Integer,
    Float,
    Lower,
    Upper,
    String,
    Mapping,
    Number,
    Sequence,
    Iterable,
    Callable,
    SameAs,
    Escaped,
    Compare(CmpOp),
}

impl Test {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "odd" => Self::Odd,
            "even" => Self::Even,
            "divisibleby" => Self::DivisibleBy,
            "defined" => Self::Defined,
            "undefined" => Self::Undefined,
            "filter" => Self::Filter,
            "test" => Self::Named,
            "none" => Self::None,
            "boolean" => Self::Boolean,
            "false" => Self::False,
            "true" => Self::True,
            "integer" => Self::Integer,
            "float" => Self::Float,
            "lower" => Self::Lower,
            "upper" => Self::Upper,
            "string" => Self::String,
            "mapping" => Self::Mapping,
            "number" => Self::Number,
            "sequence" => Self::Sequence,
            "iterable" => Self::Iterable,
            "callable" => Self::Callable,
            "sameas" => Self::SameAs,
            "escaped" => Self::Escaped,
            "in" => Self::Compare(CmpOp::In),
            "==" | "eq" | "equalto" => Self::Compare(CmpOp::Eq),
            "!=" | "ne" => Self::Compare(CmpOp::Ne),
            ">" | "gt" | "greaterthan" => Self::Compare(CmpOp::Gt),
            ">=" | "ge" => Self::Compare(CmpOp::Ge),
            "<" | "lt" | "lessthan" => Self::Compare(CmpOp::Lt),
            "<=" | "le" => Self::Compare(CmpOp::Le),
            _ => return None,
        })
    }
}

impl Test {
    /// Whether the test holds, if it asks for no more than what kind of value it is.
    pub(crate) fn of_type(self, value: &Value<'_>) -> Option<bool> {
        Some(match self {
            Self::Defined => !value.is_undefined(),
            Self::Undefined => value.is_undefined(),
            Self::None => value.is_none(),
            Self::Boolean => matches!(value, Value::Bool(..)),
            Self::False => matches!(value, Value::Bool(false, _)),
            Self::True => matches!(value, Value::Bool(true, _)),
            Self::Integer => matches!(value, Value::Int(..) | Value::Big(..)),
            Self::Float => matches!(value, Value::Float(..)),
            Self::String => matches!(value, Value::Str(_)),
            Self::Mapping => crate::ops::is_mapping(value),
            Self::Number => {
                matches!(
                    value,
                    Value::Bool(..) | Value::Int(..) | Value::Big(..) | Value::Float(..)
                )
            }
            // Undefined has a length, but its items raise.
            Self::Sequence => matches!(
                value,
                Value::Undefined(_)
                    | Value::Str(_)
                    | Value::Data(..)
                    | Value::List(_)
                    | Value::Messages(_)
                    | Value::Tuple(_)
                    | Value::Map(_)
                    | Value::Range(_)
            ),
            Self::Iterable => !matches!(
                value,
                Value::None(_)
                    | Value::Bool(..)
                    | Value::Int(..)
                    | Value::Big(..)
                    | Value::Float(..)
                    | Value::Namespace(_)
                    | Value::Macro(_)
                    | Value::Func(_)
                    | Value::Method(_)
                    | Value::Cycler(_)
                    | Value::Joiner(_)
            ),
            Self::Callable => matches!(
                value,
                Value::Macro(_)
                    | Value::Func(_)
                    | Value::Method(_)
                    | Value::Loop(_)
                    | Value::Joiner(_)
                    | Value::Undefined(_)
            ),
            Self::Escaped => matches!(value, Value::Str(text) if text.safe()),
            _ => return None,
        })
    }
}

impl<'t> Interp<'t> {
    pub(crate) fn apply_test(
        &mut self,
        test: Test,
        value: &Value<'t>,
        args: &CallArgs<'t>,
    ) -> Res<bool> {
        if let Test::Compare(op) = test {
            let [other] = args.clone().bind("test", ["other"])?;
            let other = other.ok_or_else(|| args_error("test", "needs an argument"))?;
            return self.compare(op, value, &other);
        }
        if matches!(test, Test::DivisibleBy | Test::SameAs) {
            let [other] = args.clone().bind("test", ["num"])?;
            let other = other.ok_or_else(|| args_error("test", "needs an argument"))?;
            return match test {
                Test::SameAs => Ok(same(value, &other)),
                _ => modulo(value, &other).map(|rest| rest == 0.0),
            };
        }
        args.none("test")?;
        if let Some(holds) = test.of_type(value) {
            return Ok(holds);
        }
        self.work_on(value)?;
        Ok(match test {
            Test::Odd => modulo(value, &Value::int(2))? == 1.0,
            Test::Even => modulo(value, &Value::int(2))? == 0.0,
            Test::Lower | Test::Upper => {
                let mut out = self.buffer(0);
                self.write_str(value, &mut out)?;
                has_case(&out.text, test == Test::Upper)
            }
            Test::Filter => value
                .as_text()
                .is_some_and(|name| crate::filters::Filter::from_name(name).is_some()),
            Test::Named => value.as_text().is_some_and(Self::from_test_name),
            _ => false, // `of_type` and the comparisons above
        })
    }

    fn from_test_name(name: &str) -> bool {
        Test::from_name(name).is_some()
    }
}

/// `str.isupper` / `str.islower`.
pub(crate) fn has_case(text: &str, upper: bool) -> bool {
    let mut cased = false;
    for c in text.chars() {
        let wrong = if upper {
            c.is_lowercase()
        } else {
            c.is_uppercase()
        };
        if wrong {
            return false;
        }
        cased |= if upper {
            c.is_uppercase()
        } else {
            c.is_lowercase()
        };
    }
    cased
}

fn modulo<'t>(value: &Value<'t>, divisor: &Value<'t>) -> Res<f64> {
    if matches!(value, Value::Str(_)) {
        return Err(Fault::type_error(
            "not all arguments converted during string formatting",
        ));
    }
    match crate::ops::arithmetic(Some(crate::ast::BinOp::Mod), value, divisor) {
        Some(rest) => Ok(number(&rest?).map_or(f64::NAN, crate::ops::Num::float)),
        None => Err(undefined_error(value).unwrap_or_else(|| unsupported("%", value, divisor))),
    }
}

/// Object identity, as far as chat templates can tell.
fn same<'t>(a: &Value<'t>, b: &Value<'t>) -> bool {
    match (a, b) {
        (Value::None(_), Value::None(_)) => true,
        (Value::Bool(a, _), Value::Bool(b, _)) => a == b,
        // CPython keeps one object for each of these integers.
        (Value::Int(a, _), Value::Int(b, _)) => a == b && (-5..=256).contains(a),
        (Value::Str(a), Value::Str(b)) => a.as_str() == b.as_str(),
        (Value::Data(a, _), Value::Data(b, _)) => std::ptr::eq::<Data>(*a, *b),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            std::rc::Rc::ptr_eq(a, b)
        }
        (Value::Messages(a), Value::Messages(b)) => a.same(b),
        (Value::Map(a), Value::Map(b)) => std::rc::Rc::ptr_eq(a, b),
        (Value::Namespace(a), Value::Namespace(b)) => std::rc::Rc::ptr_eq(a, b),
        _ => false,
    }
}
