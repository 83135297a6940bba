//! Filters.

mod attributes;
mod numbers;
mod sequences;
mod texts;

use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::value::{CallArgs, Value};

macro_rules! filters {
    ($($variant:ident = $($name:literal)|+;)*) => {
        /// A filter of Jinja2, as transformers' environment has it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Filter { $($variant,)* }

        impl Filter {
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                Some(match name {
                    $($($name)|+ => Self::$variant,)*
                    _ => return None,
                })
            }

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => first(&[$($name),+]),)* }
            }
        }
    };
}

fn first(names: &[&'static str]) -> &'static str {
    names[0]
}

filters! {
    Abs = "abs";
    Attr = "attr";
    Batch = "batch";
    Capitalize = "capitalize";
    Center = "center";
    Default = "default" | "d";
    DictSort = "dictsort";
    Escape = "escape" | "e";
    FileSizeFormat = "filesizeformat";
    First = "first";
    Float = "float";
    ForceEscape = "forceescape";
    Format = "format";
    GroupBy = "groupby";
    Indent = "indent";
    Int = "int";
    Items = "items";
    Join = "join";
    Last = "last";
    Length = "length" | "count";
    List = "list";
    Lower = "lower";
    Map = "map";
    Max = "max";
    Min = "min";
    PPrint = "pprint";
    Random = "random";
    Reject = "reject";
    RejectAttr = "rejectattr";
    Replace = "replace";
    Reverse = "reverse";
    Round = "round";
    Safe = "safe";
    Select = "select";
    SelectAttr = "selectattr";
    Slice = "slice";
    Sort = "sort";
    String = "string";
    StripTags = "striptags";
    Sum = "sum";
    Title = "title";
    ToJson = "tojson";
    Trim = "trim";
    Truncate = "truncate";
    Unique = "unique";
    Upper = "upper";
    UrlEncode = "urlencode";
    Urlize = "urlize";
    WordCount = "wordcount";
    WordWrap = "wordwrap";
    XmlAttr = "xmlattr";
}

impl<'t> Interp<'t> {
    pub(crate) fn apply_filter(
        &mut self,
        filter: Filter,
        value: Value<'t>,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        self.step()?;
        self.work_on(&value)?;
        match filter {
            Filter::ToJson => self.json_filter(&value, args),
            Filter::XmlAttr => self.xmlattr(&value, args),
            Filter::Trim
            | Filter::Upper
            | Filter::Lower
            | Filter::Capitalize
            | Filter::Title
            | Filter::Center
            | Filter::String
            | Filter::Safe
            | Filter::Escape
            | Filter::ForceEscape
            | Filter::Replace
            | Filter::Join
            | Filter::Indent
            | Filter::Format
            | Filter::Truncate
            | Filter::WordCount
            | Filter::UrlEncode => self.text_filter(filter, value, args),
            Filter::Abs
            | Filter::Int
            | Filter::Float
            | Filter::Round
            | Filter::Sum
            | Filter::FileSizeFormat => self.number_filter(filter, &value, args),
            Filter::PPrint
            | Filter::Random
            | Filter::StripTags
            | Filter::Urlize
            | Filter::WordWrap => Err(Fault::new(
                crate::error::ErrorKind::Unsupported,
                format!(
                    "filter '{}' is not supported in chat templates",
                    filter.name()
                ),
            )),
            _ => self.sequence_filter(filter, value, args),
        }
    }
}
