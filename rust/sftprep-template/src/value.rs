//! Values while a template runs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::ast::{For, Macro};
use crate::data::Data;
use crate::filters::Filter;
use crate::iter::ValueIter;
use crate::messages::Messages;
use crate::tests::Test;
use crate::text::{LITERAL, Origin, Str};

/// A value. Scalars carry the origin of the input they came from, if any. Values are moved all the
/// time: what is rare lies behind a pointer, so that they take 32 bytes.
#[derive(Clone)]
pub(crate) enum Value<'t> {
    Undefined(Undef<'t>),
    None(Origin),
    Bool(bool, Origin),
    Int(i64, Origin),
    Big(Rc<str>, Origin),
    Float(f64, Origin),
    Str(Str<'t>),
    /// A list or object of the input; never a scalar.
    Data(&'t Data, Origin),
    List(Rc<Vec<Value<'t>>>),
    /// A list too.
    Messages(Messages<'t>),
    Tuple(Rc<Vec<Value<'t>>>),
    Map(Rc<Vec<(Value<'t>, Value<'t>)>>),
    Range(Rc<(i64, i64, i64)>),
    View(View, Rc<Value<'t>>),
    Gen(Rc<RefCell<Gen<'t>>>),
    Loop(Rc<LoopState<'t>>),
    Namespace(Rc<RefCell<Fields<'t>>>),
    Macro(Rc<MacroValue<'t>>),
    Func(Func),
    Method(Rc<(Value<'t>, Str<'t>)>),
    Cycler(Rc<(Vec<Value<'t>>, Cell<usize>)>),
    Joiner(Rc<(Str<'t>, Cell<bool>)>),
}

pub(crate) type Fields<'t> = Vec<(Str<'t>, Value<'t>)>;

/// What a dict view shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Keys,
    Values,
    Items,
}

/// Global functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Func {
    Range,
    Dict,
    Namespace,
    Raise,
    StrftimeNow,
    Cycler,
    Joiner,
    Lipsum,
}

impl Func {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "range" => Self::Range,
            "dict" => Self::Dict,
            "namespace" => Self::Namespace,
            "raise_exception" => Self::Raise,
            "strftime_now" => Self::StrftimeNow,
            "cycler" => Self::Cycler,
            "joiner" => Self::Joiner,
            "lipsum" => Self::Lipsum,
            _ => return None,
        })
    }
}

/// Why a value is undefined; becomes the message when it is used.
#[derive(Clone)]
pub(crate) enum Undef<'t> {
    Var(&'t str),
    /// The type of the object, and the name of what it lacks.
    Attr(Rc<(&'static str, Str<'t>)>),
    Unsafe(Rc<(&'static str, Str<'t>)>),
    Hint(Rc<str>),
}

impl<'t> Undef<'t> {
    pub(crate) fn attribute(kind: &'static str, name: Str<'t>) -> Self {
        Self::Attr(Rc::new((kind, name)))
    }

    pub(crate) fn hidden(kind: &'static str, name: Str<'t>) -> Self {
        Self::Unsafe(Rc::new((kind, name)))
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::Var(name) => format!("'{name}' is undefined"),
            Self::Attr(lacking) => {
                let (kind, name) = &**lacking;
                format!("'{kind} object' has no attribute '{}'", name.as_str())
            }
            Self::Unsafe(hidden) => {
                let (kind, name) = &**hidden;
                format!(
                    "access to attribute '{}' of '{kind}' object is unsafe",
                    name.as_str()
                )
            }
            Self::Hint(text) => text.to_string(),
        }
    }
}

/// A lazy sequence, used up by the first that reads it.
pub(crate) struct Gen<'t> {
    pub source: ValueIter<'t>,
    pub op: GenOp<'t>,
}

pub(crate) enum GenOp<'t> {
    /// Already computed items.
    Plain,
    MapFilter(Filter, CallArgs<'t>),
    MapAttr(Vec<Value<'t>>, Option<Value<'t>>),
    Select {
        attr: Option<Vec<Value<'t>>>,
        test: Option<(Test, CallArgs<'t>)>,
        keep: bool,
    },
    /// An error that only shows when the sequence is read.
    Fail(Rc<str>),
}

/// Arguments of a call.
#[derive(Clone, Default)]
pub(crate) struct CallArgs<'t> {
    pub pos: Vec<Value<'t>>,
    pub kw: Vec<(Str<'t>, Value<'t>)>,
}

/// State of a `for` loop that its body can see.
pub(crate) struct LoopState<'t> {
    pub iter: RefCell<ValueIter<'t>>,
    pub length: Cell<Option<usize>>,
    pub index0: Cell<usize>,
    pub after: RefCell<Option<Value<'t>>>,
    pub before: RefCell<Option<Value<'t>>>,
    pub current: RefCell<Option<Value<'t>>>,
    pub changed: RefCell<Option<Vec<Value<'t>>>>,
    pub depth0: usize,
    pub node: &'t For,
    /// The body in which the loop runs, for recursive calls.
    pub frame: usize,
}

/// A macro or the body of a call block, bound to where it was defined.
pub(crate) struct MacroValue<'t> {
    pub node: &'t Macro,
    pub frame: usize,
    pub frame_id: u64,
}

impl<'t> LoopState<'t> {
    pub(crate) fn new(node: &'t For, iter: ValueIter<'t>, depth0: usize, frame: usize) -> Self {
        Self {
            iter: RefCell::new(iter),
            length: Cell::new(None),
            index0: Cell::new(0),
            after: RefCell::new(None),
            before: RefCell::new(None),
            current: RefCell::new(None),
            changed: RefCell::new(None),
            depth0,
            node,
            frame,
        }
    }

    /// Takes the next item, if it is a message and was not looked at before.
    #[inline]
    pub(crate) fn next_message(&self) -> Option<(&'t Data, usize)> {
        if self.after.borrow().is_some() {
            return None;
        }
        match &mut *self.iter.try_borrow_mut().ok()? {
            ValueIter::Messages(messages) => messages.take_first(),
            _ => None,
        }
    }

    /// Whether this is the last turn, where that is known without running anything.
    pub(crate) fn is_last(&self) -> Option<bool> {
        if self.after.borrow().is_some() {
            return Some(false);
        }
        self.iter.try_borrow().ok()?.is_done()
    }
}

impl<'t> Value<'t> {
    pub(crate) fn literal(text: &'t str) -> Self {
        Self::Str(Str::literal(text))
    }

    pub(crate) fn text(text: String, origin: Origin) -> Self {
        Self::Str(Str::made(text, origin))
    }

    pub(crate) fn bool(value: bool) -> Self {
        Self::Bool(value, LITERAL)
    }

    pub(crate) fn int(value: i64) -> Self {
        Self::Int(value, LITERAL)
    }

    pub(crate) fn list(items: Vec<Value<'t>>) -> Self {
        Self::List(Rc::new(items))
    }

    pub(crate) fn hint(text: &str) -> Self {
        Self::Undefined(Undef::Hint(text.into()))
    }

    /// A value of the input, with its origin.
    pub(crate) fn from_data(data: &'t Data, origin: Origin) -> Self {
        match data {
            Data::Null => Self::None(origin),
            Data::Bool(value) => Self::Bool(*value, origin),
            Data::Int(value) => Self::Int(*value, origin),
            Data::BigInt(digits) => Self::Big(Rc::from(&**digits), origin),
            Data::Float(value) => Self::Float(*value, origin),
            Data::Str(text) => Self::Str(Str::leaf(text, origin)),
            Data::List(_) | Data::Map(_) => Self::Data(data, origin),
        }
    }

    /// Whether dropping it has nothing to do.
    #[inline]
    pub(crate) fn owns_nothing(&self) -> bool {
        match self {
            Self::Undefined(Undef::Var(_))
            | Self::None(_)
            | Self::Bool(..)
            | Self::Int(..)
            | Self::Float(..)
            | Self::Data(..)
            | Self::Messages(_)
            | Self::Func(_) => true,
            Self::Str(text) => text.is_borrowed(),
            _ => false,
        }
    }

    pub(crate) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None(_))
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Python's type name.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None(_) => "NoneType",
            Self::Bool(..) => "bool",
            Self::Int(..) | Self::Big(..) => "int",
            Self::Float(..) => "float",
            Self::Str(text) if text.safe() => "Markup",
            Self::Str(_) => "str",
            Self::Data(Data::List(_), _) | Self::List(_) | Self::Messages(_) => "list",
            Self::Data(..) | Self::Map(_) => "dict",
            Self::Tuple(_) => "tuple",
            Self::Range(_) => "range",
            Self::View(View::Keys, _) => "dict_keys",
            Self::View(View::Values, _) => "dict_values",
            Self::View(View::Items, _) => "dict_items",
            Self::Gen(_) => "generator",
            Self::Loop(_) => "LoopContext",
            Self::Namespace(_) => "Namespace",
            Self::Macro(_) => "Macro",
            Self::Func(_) | Self::Method(_) => "function",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
        }
    }

    /// Python's truth value.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None(_) => false,
            Self::Bool(value, _) => *value,
            Self::Int(value, _) => *value != 0,
            Self::Float(value, _) => *value != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::Data(Data::List(items), _) => !items.is_empty(),
            Self::Data(Data::Map(map), _) => !map.is_empty(),
            Self::List(items) | Self::Tuple(items) => !items.is_empty(),
            Self::Messages(messages) => messages.len() > 0,
            Self::Map(entries) => !entries.is_empty(),
            Self::Range(range) => range_len(range) > 0,
            Self::View(_, map) => map.is_true(),
            _ => true,
        }
    }

    /// `len()`, where it exists without counting characters.
    pub(crate) fn container_len(&self) -> Option<usize> {
        Some(match self {
            Self::Undefined(_) => 0,
            Self::Data(Data::List(items), _) => items.len(),
            Self::Data(Data::Map(map), _) => map.len(),
            Self::List(items) | Self::Tuple(items) => items.len(),
            Self::Messages(messages) => messages.len(),
            Self::Map(entries) => entries.len(),
            Self::Range(range) => range_len(range),
            Self::View(_, map) => return map.container_len(),
            _ => return None,
        })
    }

    /// The origin of a value as a whole, as far as it has one.
    pub(crate) fn origin(&self) -> Origin {
        match self {
            Self::None(origin)
            | Self::Bool(_, origin)
            | Self::Int(_, origin)
            | Self::Big(_, origin)
            | Self::Float(_, origin)
            | Self::Data(_, origin) => *origin,
            Self::Str(text) => {
                let mut first = LITERAL;
                text.each_run(|_, origin, _, _| {
                    if first == LITERAL {
                        first = origin;
                    }
                });
                first
            }
            _ => LITERAL,
        }
    }
}

/// Drops a value. Most own nothing: to ask that first takes a third of the time.
#[inline]
pub(crate) fn discard(value: Value<'_>) {
    if value.owns_nothing() {
        std::mem::forget(value);
    }
}

pub(crate) fn range_len(range: &(i64, i64, i64)) -> usize {
    let (start, stop, step) = (
        i128::from(range.0),
        i128::from(range.1),
        i128::from(range.2),
    );
    let count = if step > 0 {
        (stop - start + step - 1) / step
    } else {
        (start - stop - step - 1) / -step
    };
    usize::try_from(count.max(0)).unwrap_or(usize::MAX)
}

// Values are moved all the time; see `Value`.
const _: () = assert!(size_of::<Value<'_>>() <= 32);
