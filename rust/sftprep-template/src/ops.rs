//! Python's comparisons and arithmetic on values. None of them looks at origins to decide.

use std::cmp::Ordering;
use std::rc::Rc;

use crate::ast::{BinOp, CmpOp};
use crate::data::Data;
use crate::error::{ErrorKind, Fault, Res};
use crate::text::LITERAL;
use crate::value::{Value, View};

/// Deepest nesting that comparisons, printing and JSON follow.
pub(crate) const MAX_DATA_DEPTH: u32 = 250;

#[cold]
pub(crate) fn too_deep() -> Fault {
    Fault::new(
        ErrorKind::LimitRecursion,
        format!("a value is nested deeper than {MAX_DATA_DEPTH} levels"),
    )
}

#[cold]
pub(crate) fn undefined_error(value: &Value<'_>) -> Option<Fault> {
    match value {
        Value::Undefined(undef) => {
            let kind = match undef {
                crate::value::Undef::Unsafe(..) => ErrorKind::Security,
                _ => ErrorKind::Undefined,
            };
            Some(Fault::new(kind, undef.message()))
        }
        _ => None,
    }
}

/// A number, for arithmetic and comparison.
#[derive(Clone, Copy)]
pub(crate) enum Num {
    Int(i128),
    Float(f64),
}

pub(crate) fn number(value: &Value<'_>) -> Option<Num> {
    Some(match value {
        Value::Bool(value, _) => Num::Int(i128::from(*value)),
        Value::Int(value, _) => Num::Int(i128::from(*value)),
        // Integers beyond 128 bits keep their digits for printing; they only lose arithmetic.
        Value::Big(digits, _) => match digits.parse() {
            Ok(value) => Num::Int(value),
            Err(_) => Num::Float(digits.parse().ok()?),
        },
        Value::Float(value, _) => Num::Float(*value),
        _ => return None,
    })
}

impl Num {
    pub(crate) fn float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Int(a), Self::Float(b)) => compare_mixed(a, b),
            (Self::Float(a), Self::Int(b)) => compare_mixed(b, a).map(Ordering::reverse),
        }
    }
}

/// Exact comparison of an integer with a float, as Python does it.
fn compare_mixed(a: i128, b: f64) -> Option<Ordering> {
    if b.is_nan() {
        return None;
    }
    if b >= 1.7e38 {
        return Some(Ordering::Less);
    }
    if b <= -1.7e38 {
        return Some(Ordering::Greater);
    }
    let whole = b.trunc() as i128;
    let fraction = if b.fract() == 0.0 {
        Ordering::Equal
    } else if b > 0.0 {
        Ordering::Less
    } else {
        Ordering::Greater
    };
    Some(a.cmp(&whole).then(fraction))
}

type Getter<'a, 't> = Box<dyn Fn(usize) -> Value<'t> + 'a>;

/// A list or tuple seen as a sequence; `None` for anything else.
fn sequence<'a, 't>(value: &'a Value<'t>) -> Option<(bool, usize, Getter<'a, 't>)> {
    match value {
        Value::List(items) => Some((true, items.len(), Box::new(|i| items[i].clone()))),
        Value::Tuple(items) => Some((false, items.len(), Box::new(|i| items[i].clone()))),
        Value::Messages(messages) => Some((
            true,
            messages.len(),
            Box::new(|i| messages.get(i).unwrap_or(Value::None(LITERAL))),
        )),
        Value::Data(Data::List(items), _) => Some((
            true,
            items.len(),
            Box::new(|i| Value::from_data(&items[i], LITERAL)),
        )),
        _ => None,
    }
}

pub(crate) fn is_mapping(value: &Value<'_>) -> bool {
    matches!(value, Value::Map(_) | Value::Data(Data::Map(_), _))
}

/// The entries of a mapping, without origins.
pub(crate) fn entries<'t>(value: &Value<'t>) -> Vec<(Value<'t>, Value<'t>)> {
    match value {
        Value::Map(entries) => entries.as_ref().clone(),
        Value::Data(Data::Map(map), _) => map
            .iter()
            .map(|(key, value)| (Value::literal(key), Value::from_data(value, LITERAL)))
            .collect(),
        _ => Vec::new(),
    }
}

/// `==`.
pub(crate) fn equal<'t>(a: &Value<'t>, b: &Value<'t>, depth: u32) -> Res<bool> {
    if let (Value::Str(a), Value::Str(b)) = (a, b) {
        return Ok(a.as_str() == b.as_str());
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return Ok(a.compare(b) == Some(Ordering::Equal));
    }
    Ok(match (a, b) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None(_), Value::None(_)) => true,
        (Value::Range(a), Value::Range(b)) => a == b,
        (Value::Namespace(a), Value::Namespace(b)) => Rc::ptr_eq(a, b),
        (Value::Gen(a), Value::Gen(b)) => Rc::ptr_eq(a, b),
        (Value::Macro(a), Value::Macro(b)) => Rc::ptr_eq(a, b),
        (Value::Func(a), Value::Func(b)) => a == b,
        (Value::Loop(a), Value::Loop(b)) => Rc::ptr_eq(a, b),
        (Value::View(View::Keys, a), Value::View(View::Keys, b)) => {
            let (a, b) = (entries(a), entries(b));
            a.len() == b.len() && contains_all(&a, &b, depth, false)?
        }
        _ if is_mapping(a) && is_mapping(b) => {
            if depth > MAX_DATA_DEPTH {
                return Err(too_deep());
            }
            let (a, b) = (entries(a), entries(b));
            a.len() == b.len() && contains_all(&a, &b, depth, true)?
        }
        _ => {
            let (Some((list_a, len_a, get_a)), Some((list_b, len_b, get_b))) =
                (sequence(a), sequence(b))
            else {
                return Ok(false);
            };
            if list_a != list_b || len_a != len_b {
                return Ok(false);
            }
            if depth > MAX_DATA_DEPTH {
                return Err(too_deep());
            }
            for index in 0..len_a {
                if !equal(&get_a(index), &get_b(index), depth + 1)? {
                    return Ok(false);
                }
            }
            true
        }
    })
}

type Entries<'t> = [(Value<'t>, Value<'t>)];

fn contains_all<'t>(a: &Entries<'t>, b: &Entries<'t>, depth: u32, values: bool) -> Res<bool> {
    'outer: for (key, value) in a {
        for (other_key, other) in b {
            if equal(key, other_key, depth + 1)? {
                if values && !equal(value, other, depth + 1)? {
                    return Ok(false);
                }
                continue 'outer;
            }
        }
        return Ok(false);
    }
    Ok(true)
}

/// `<`, `<=`, `>`, `>=`.
pub(crate) fn order<'t>(op: CmpOp, a: &Value<'t>, b: &Value<'t>, depth: u32) -> Res<bool> {
    let holds = |ordering: Ordering| match op {
        CmpOp::Lt => ordering.is_lt(),
        CmpOp::Le => ordering.is_le(),
        CmpOp::Gt => ordering.is_gt(),
        _ => ordering.is_ge(),
    };
    if let (Value::Str(a), Value::Str(b)) = (a, b) {
        return Ok(holds(a.as_str().cmp(b.as_str())));
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return Ok(a.compare(b).is_some_and(holds));
    }
    if let (Some((list_a, len_a, get_a)), Some((list_b, len_b, get_b))) = (sequence(a), sequence(b))
        && list_a == list_b
    {
        if depth > MAX_DATA_DEPTH {
            return Err(too_deep());
        }
        for index in 0..len_a.min(len_b) {
            let (x, y) = (get_a(index), get_b(index));
            if !equal(&x, &y, depth + 1)? {
                return order(op, &x, &y, depth + 1);
            }
        }
        return Ok(holds(len_a.cmp(&len_b)));
    }
    if let Some(fault) = undefined_error(a).or_else(|| undefined_error(b)) {
        return Err(fault);
    }
    let sign = match op {
        CmpOp::Lt => "<",
        CmpOp::Le => "<=",
        CmpOp::Gt => ">",
        _ => ">=",
    };
    Err(Fault::type_error(format!(
        "'{sign}' not supported between instances of '{}' and '{}'",
        a.type_name(),
        b.type_name()
    )))
}

/// Whether a value may be a dict key.
pub(crate) fn check_hashable(value: &Value<'_>) -> Res<()> {
    match value {
        Value::List(_) | Value::Messages(_) | Value::Map(_) | Value::Data(..) => Err(
            Fault::type_error(format!("unhashable type: '{}'", value.type_name())),
        ),
        Value::Tuple(items) => items.iter().try_for_each(check_hashable),
        _ => Ok(()),
    }
}

fn int_value<'t>(value: i128) -> Value<'t> {
    match i64::try_from(value) {
        Ok(value) => Value::int(value),
        Err(_) => Value::Big(value.to_string().into(), LITERAL),
    }
}

fn overflow() -> Fault {
    Fault::value_error("integer arithmetic beyond 128 bits is not supported")
}

/// Arithmetic on numbers; `None` if one operand is not a number.
pub(crate) fn arithmetic<'t>(
    op: Option<BinOp>,
    a: &Value<'t>,
    b: &Value<'t>,
) -> Option<Res<Value<'t>>> {
    let (x, y) = (number(a)?, number(b)?);
    let float = |value: f64| Ok(Value::Float(value, LITERAL));
    let zero = |what: &str| Err(Fault::value_error(what));
    let int = |value: Option<i128>| value.map(int_value).ok_or_else(overflow);
    Some(match (op, x, y) {
        (None, Num::Int(x), Num::Int(y)) => int(x.checked_add(y)),
        (None, ..) => float(x.float() + y.float()),
        (Some(BinOp::Sub), Num::Int(x), Num::Int(y)) => int(x.checked_sub(y)),
        (Some(BinOp::Sub), ..) => float(x.float() - y.float()),
        (Some(BinOp::Mul), Num::Int(x), Num::Int(y)) => int(x.checked_mul(y)),
        (Some(BinOp::Mul), ..) => float(x.float() * y.float()),
        (Some(BinOp::Div), ..) if y.float() == 0.0 => zero("division by zero"),
        (Some(BinOp::Div), ..) => float(x.float() / y.float()),
        (Some(BinOp::FloorDiv | BinOp::Mod), ..) if y.float() == 0.0 => {
            zero("integer division or modulo by zero")
        }
        (Some(BinOp::FloorDiv), Num::Int(x), Num::Int(y)) => {
            int(Some(x / y - i128::from(x % y != 0 && (x < 0) != (y < 0))))
        }
        (Some(BinOp::FloorDiv), ..) => float((x.float() / y.float()).floor()),
        (Some(BinOp::Mod), Num::Int(x), Num::Int(y)) => {
            let rest = x % y;
            int(Some(if rest != 0 && (rest < 0) != (y < 0) {
                rest + y
            } else {
                rest
            }))
        }
        (Some(BinOp::Mod), ..) => {
            let (x, y) = (x.float(), y.float());
            let rest = x % y;
            float(if rest != 0.0 && (rest < 0.0) != (y < 0.0) {
                rest + y
            } else if rest == 0.0 {
                0.0_f64.copysign(y)
            } else {
                rest
            })
        }
        (Some(BinOp::Pow), Num::Int(x), Num::Int(y)) if y >= 0 => {
            int(u32::try_from(y).ok().and_then(|y| x.checked_pow(y)))
        }
        (Some(BinOp::Pow), ..) => {
            let (base, exponent) = (x.float(), y.float());
            if base == 0.0 && exponent < 0.0 {
                zero("0.0 cannot be raised to a negative power")
            } else {
                float(base.powf(exponent))
            }
        }
    })
}

#[cold]
pub(crate) fn unsupported(sign: &str, a: &Value<'_>, b: &Value<'_>) -> Fault {
    undefined_error(a)
        .or_else(|| undefined_error(b))
        .unwrap_or_else(|| {
            Fault::type_error(format!(
                "unsupported operand type(s) for {sign}: '{}' and '{}'",
                a.type_name(),
                b.type_name()
            ))
        })
}
