//! Filters on sequences and mappings.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

use super::Filter;
use crate::ast::CmpOp;
use crate::error::{Fault, Res};
use crate::eval::{Interp, args_error};
use crate::iter::ValueIter;
use crate::methods::{Case, int_arg};
use crate::ops::{equal, is_mapping, order, undefined_error};
use crate::tests::Test;
use crate::text::LITERAL;
use crate::value::{CallArgs, Gen, GenOp, Undef, Value, View};

fn generator<'t>(source: ValueIter<'t>, op: GenOp<'t>) -> Value<'t> {
    Value::Gen(Rc::new(RefCell::new(Gen { source, op })))
}

fn generated(items: Vec<Value<'_>>) -> Value<'_> {
    generator(ValueIter::List(Rc::new(items), 0), GenOp::Plain)
}

/// A sequence that fails when it is read.
fn failing<'t>(message: &str) -> Value<'t> {
    generator(ValueIter::Empty, GenOp::Fail(message.into()))
}

impl<'t> Interp<'t> {
    pub(super) fn sequence_filter(
        &mut self,
        filter: Filter,
        value: Value<'t>,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        let name = filter.name();
        match filter {
            Filter::Default => {
                let [default, boolean] = args.bind(name, ["default_value", "boolean"])?;
                let boolean = boolean.is_some_and(|value| value.is_true());
                if value.is_undefined() || (boolean && !value.is_true()) {
                    return Ok(default.unwrap_or_else(|| Value::literal("")));
                }
                Ok(value)
            }
            Filter::Length => args.none(name).and_then(|()| self.length(&value)),
            Filter::List => args
                .none(name)
                .and_then(|()| self.collect(&value))
                .map(Value::list),
            Filter::First => {
                args.none(name)?;
                let mut iter = ValueIter::of(&value)?;
                let found = self.next_item(&mut iter)?;
                Ok(found.unwrap_or_else(|| Value::hint("no first item, sequence was empty")))
            }
            Filter::Last => {
                args.none(name)?;
                self.last(&value)
            }
            Filter::Items => {
                args.none(name)?;
                Ok(match &value {
                    Value::Undefined(_) => generated(Vec::new()),
                    value if is_mapping(value) => {
                        let view = Value::View(View::Items, Rc::new(value.clone()));
                        generator(ValueIter::of(&view)?, GenOp::Plain)
                    }
                    _ => failing("can only get item pairs from a mapping"),
                })
            }
            Filter::Reverse => args.none(name).and_then(|()| self.reverse(&value)),
            Filter::Map => self.map(&value, args),
            Filter::Select | Filter::Reject | Filter::SelectAttr | Filter::RejectAttr => {
                self.select(filter, &value, args)
            }
            Filter::Sort => self.sort(&value, args),
            Filter::DictSort => self.dict_sort(&value, args),
            Filter::Unique => self.unique(&value, args),
            Filter::Min | Filter::Max => self.extreme(filter, &value, args),
            Filter::Attr => {
                let [attribute] = args.bind(name, ["name"])?;
                let Some(Value::Str(attribute)) = attribute else {
                    return Err(args_error(name, "needs a name"));
                };
                if crate::methods::method_access(value.type_name(), attribute.as_str())
                    == crate::methods::Access::None
                    && (is_mapping(&value) || value.container_len().is_some())
                    && !value.is_undefined()
                {
                    // Unlike `.`, the filter does not fall back to items.
                    return Ok(Value::Undefined(Undef::attribute(
                        value.type_name(),
                        attribute,
                    )));
                }
                self.attr(&value, attribute)
            }
            Filter::Batch => {
                let [count, fill] = args.bind(name, ["linecount", "fill_with"])?;
                let count = count.ok_or_else(|| args_error(name, "needs a number"))?;
                let count = usize::try_from(int_arg(&count, name)?).unwrap_or(0);
                let items = self.collect(&value)?;
                self.batch(items, count, fill)
            }
            Filter::Slice => {
                let [count, fill] = args.bind(name, ["slices", "fill_with"])?;
                let count = count.ok_or_else(|| args_error(name, "needs a number"))?;
                let count = usize::try_from(int_arg(&count, name)?).unwrap_or(0);
                if count == 0 {
                    return Ok(failing("integer division or modulo by zero"));
                }
                let items = self.collect(&value)?;
                self.charge(count.saturating_mul(64))?;
                Ok(slice_columns(
                    items,
                    count,
                    fill.filter(|fill| !fill.is_none()),
                ))
            }
            _ => self.group_by(&value, args),
        }
    }

    /// `len()`.
    pub(crate) fn length(&mut self, value: &Value<'t>) -> Res<Value<'t>> {
        let count = match value {
            Value::Str(text) => {
                self.scan(text.len())?;
                text.as_str().chars().count()
            }
            Value::Loop(state) => self.loop_length(state)?,
            _ => value.container_len().ok_or_else(|| {
                Fault::type_error(format!(
                    "object of type '{}' has no len()",
                    value.type_name()
                ))
            })?,
        };
        Ok(Value::Int(count as i64, value.origin()))
    }

    fn last(&mut self, value: &Value<'t>) -> Res<Value<'t>> {
        let missing = || Value::hint("no last item, sequence was empty");
        match value {
            Value::Undefined(_) => {
                // `reversed(undefined)` reads its length, which is 0.
                Ok(missing())
            }
            Value::Str(text) => {
                let whole = text.as_str();
                Ok(whole
                    .char_indices()
                    .next_back()
                    .map_or_else(missing, |(at, _)| Value::Str(text.slice(at..whole.len()))))
            }
            Value::Gen(_) => Err(Fault::type_error("'generator' object is not reversible")),
            _ => Ok(self.collect(value)?.pop().unwrap_or_else(missing)),
        }
    }

    fn reverse(&mut self, value: &Value<'t>) -> Res<Value<'t>> {
        if let Value::Str(text) = value {
            self.charge(text.len())?;
            let whole = text.as_str();
            let mut out = self.buffer(whole.len());
            for (at, c) in whole.char_indices().rev() {
                let (origin, src, tag) = text.origin_at(at);
                out.push(&whole[at..at + c.len_utf8()], origin, src, tag);
            }
            return Ok(Value::Str(out.into_str().marked_safe(text.safe())));
        }
        let mut items = self.collect(value)?;
        items.reverse();
        Ok(match value {
            Value::Gen(_) => Value::list(items),
            _ => generated(items),
        })
    }

    /// The parts of `attribute="a.b.0"`.
    pub(crate) fn attribute_path(&mut self, attribute: &Value<'t>) -> Res<Vec<Value<'t>>> {
        Ok(match attribute {
            Value::Str(text) => {
                let mut parts = Vec::new();
                let mut start = 0;
                for part in text.as_str().split('.') {
                    let number = part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty();
                    parts.push(match part.parse::<i64>() {
                        Ok(index) if number => Value::int(index),
                        _ => Value::Str(text.slice(start..start + part.len())),
                    });
                    start += part.len() + 1;
                }
                parts
            }
            other => vec![other.clone()],
        })
    }

    fn map(&mut self, value: &Value<'t>, mut args: CallArgs<'t>) -> Res<Value<'t>> {
        if !value.is_true() {
            return Ok(generated(Vec::new()));
        }
        if args.pos.is_empty() && args.kw.iter().any(|(name, _)| name.as_str() == "attribute") {
            let Ok([attribute, default]) = args.bind("map", ["attribute", "default"]) else {
                return Ok(failing("map got an unexpected keyword argument"));
            };
            let path = self.attribute_path(&attribute.unwrap_or(Value::None(LITERAL)))?;
            let default = default.filter(|default| !default.is_none());
            return Ok(self.lazy(value, GenOp::MapAttr(path, default)));
        }
        if args.pos.is_empty() {
            return Ok(failing("map requires a filter argument"));
        }
        let filter = args.pos.remove(0);
        match filter.as_text().and_then(Filter::from_name) {
            Some(filter) => Ok(self.lazy(value, GenOp::MapFilter(filter, args))),
            None => Ok(failing("no filter of this name")),
        }
    }

    /// A generator over `value`; what cannot be iterated fails when it is read.
    fn lazy(&mut self, value: &Value<'t>, op: GenOp<'t>) -> Value<'t> {
        match ValueIter::of(value) {
            Ok(source) => generator(source, op),
            Err(_) => failing(&format!("'{}' object is not iterable", value.type_name())),
        }
    }

    fn select(
        &mut self,
        filter: Filter,
        value: &Value<'t>,
        mut args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        if !value.is_true() {
            return Ok(generated(Vec::new()));
        }
        let keep = matches!(filter, Filter::Select | Filter::SelectAttr);
        let mut attr = None;
        if matches!(filter, Filter::SelectAttr | Filter::RejectAttr) {
            if args.pos.is_empty() {
                return Ok(failing("missing parameter for attribute name"));
            }
            let attribute = args.pos.remove(0);
            attr = Some(self.attribute_path(&attribute)?);
        }
        let mut test = None;
        if !args.pos.is_empty() {
            let name = args.pos.remove(0);
            match name.as_text().and_then(Test::from_name) {
                Some(found) => test = Some((found, args)),
                None => return Ok(failing("no test of this name")),
            }
        }
        Ok(self.lazy(value, GenOp::Select { attr, test, keep }))
    }

    /// The sort key of an item: lower case for text, unless case matters.
    fn sort_key(
        &mut self,
        item: &Value<'t>,
        path: &[Value<'t>],
        case_sensitive: bool,
    ) -> Res<Value<'t>> {
        let key = self.follow(item, path, None)?;
        match &key {
            Value::Str(text) if !case_sensitive => self.change_case(text, Case::Lower),
            _ => Ok(key),
        }
    }

    fn path_of(&mut self, attribute: Option<Value<'t>>) -> Res<Vec<Value<'t>>> {
        match attribute {
            None | Some(Value::None(_)) => Ok(Vec::new()),
            Some(attribute) => self.attribute_path(&attribute),
        }
    }

    fn sort(&mut self, value: &Value<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [reverse, case, attribute] =
            args.bind("sort", ["reverse", "case_sensitive", "attribute"])?;
        let is_true = |value: Option<Value<'t>>| value.is_some_and(|value| value.is_true());
        let (reverse, case) = (is_true(reverse), is_true(case));
        // Several attributes are joined by commas; each makes one part of the key.
        let mut paths = Vec::new();
        match attribute {
            Some(Value::Str(text)) => {
                let mut start = 0;
                for part in text.as_str().split(',') {
                    let part_text = Value::Str(text.slice(start..start + part.len()));
                    paths.push(self.attribute_path(&part_text)?);
                    start += part.len() + 1;
                }
            }
            other => paths.push(self.path_of(other)?),
        }
        let mut keyed = Vec::new();
        for item in self.collect(value)? {
            let mut key = Vec::with_capacity(paths.len());
            for path in &paths {
                key.push(self.sort_key(&item, path, case)?);
            }
            keyed.push((Value::list(key), item));
        }
        self.sort_keyed(&mut keyed, reverse)?;
        Ok(Value::list(
            keyed.into_iter().map(|(_, item)| item).collect(),
        ))
    }

    fn sort_keyed(&mut self, keyed: &mut [(Value<'t>, Value<'t>)], reverse: bool) -> Res<()> {
        self.budget.steps(keyed.len() * 8)?;
        let mut fault = None;
        keyed.sort_by(|a, b| {
            let (a, b) = if reverse { (b, a) } else { (a, b) };
            let less = |a: &Value<'t>, b: &Value<'t>| order(CmpOp::Lt, a, b, 0);
            match less(&a.0, &b.0) {
                Ok(true) => Ordering::Less,
                Ok(false) => match less(&b.0, &a.0) {
                    Ok(true) => Ordering::Greater,
                    _ => Ordering::Equal,
                },
                Err(error) => {
                    fault.get_or_insert(error);
                    Ordering::Equal
                }
            }
        });
        fault.map_or(Ok(()), Err)
    }

    fn dict_sort(&mut self, value: &Value<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [case, by, reverse] = args.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
        let is_true = |value: Option<Value<'t>>| value.is_some_and(|value| value.is_true());
        let (case, reverse) = (is_true(case), is_true(reverse));
        let by_value = match by.as_ref().map(|by| by.as_text()) {
            None | Some(Some("key")) => false,
            Some(Some("value")) => true,
            _ => {
                return Err(args_error(
                    "dictsort",
                    "can only sort by \"key\" or \"value\"",
                ));
            }
        };
        if !is_mapping(value) {
            return Err(undefined_error(value).unwrap_or_else(|| {
                Fault::type_error(format!("'{}' object has no items", value.type_name()))
            }));
        }
        let mut keyed = Vec::new();
        for (key, item) in self.mapping_entries(value)? {
            let sort_key = self.sort_key(if by_value { &item } else { &key }, &[], case)?;
            keyed.push((sort_key, Value::Tuple(Rc::new(vec![key, item]))));
        }
        self.sort_keyed(&mut keyed, reverse)?;
        Ok(Value::list(
            keyed.into_iter().map(|(_, item)| item).collect(),
        ))
    }

    fn unique(&mut self, value: &Value<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [case, attribute] = args.bind("unique", ["case_sensitive", "attribute"])?;
        let case = case.is_some_and(|value| value.is_true());
        let path = self.path_of(attribute)?;
        let mut seen: Vec<Value<'t>> = Vec::new();
        let mut kept = Vec::new();
        for item in self.collect(value)? {
            let key = self.sort_key(&item, &path, case)?;
            crate::ops::check_hashable(&key)?;
            self.budget.steps(seen.len())?;
            let mut known = false;
            for other in &seen {
                known = known || equal(other, &key, 0)?;
            }
            if !known {
                seen.push(key);
                kept.push(item);
            }
        }
        Ok(generated(kept))
    }

    fn extreme(&mut self, filter: Filter, value: &Value<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [case, attribute] = args.bind(filter.name(), ["case_sensitive", "attribute"])?;
        let case = case.is_some_and(|value| value.is_true());
        let path = self.path_of(attribute)?;
        let mut best: Option<(Value<'t>, Value<'t>)> = None;
        for item in self.collect(value)? {
            let key = self.sort_key(&item, &path, case)?;
            let better = match &best {
                None => true,
                Some((known, _)) if filter == Filter::Min => order(CmpOp::Lt, &key, known, 0)?,
                Some((known, _)) => order(CmpOp::Gt, &key, known, 0)?,
            };
            if better {
                best = Some((key, item));
            }
        }
        Ok(best.map_or_else(
            || Value::hint("no aggregated item, sequence was empty"),
            |(_, item)| item,
        ))
    }

    fn batch(
        &mut self,
        items: Vec<Value<'t>>,
        count: usize,
        fill: Option<Value<'t>>,
    ) -> Res<Value<'t>> {
        let mut rows = Vec::new();
        let mut row = Vec::new();
        for item in items {
            if row.len() == count {
                rows.push(Value::list(std::mem::take(&mut row)));
            }
            row.push(item);
        }
        if !row.is_empty() {
            if let Some(fill) = fill.filter(|fill| !fill.is_none())
                && row.len() < count
            {
                self.charge(count.saturating_mul(64))?;
                row.resize(count, fill);
            }
            rows.push(Value::list(row));
        }
        Ok(generated(rows))
    }

    fn group_by(&mut self, value: &Value<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let names = ["attribute", "default", "case_sensitive"];
        let [attribute, default, case] = args.bind("groupby", names)?;
        let attribute = attribute.ok_or_else(|| args_error("groupby", "needs an attribute"))?;
        let case = case.is_some_and(|value| value.is_true());
        let path = self.attribute_path(&attribute)?;
        let default = default.filter(|default| !default.is_none());
        let mut keyed = Vec::new();
        for item in self.collect(value)? {
            let raw = self.follow(&item, &path, default.as_ref())?;
            let key = match &raw {
                Value::Str(text) if !case => self.change_case(text, Case::Lower)?,
                _ => raw.clone(),
            };
            keyed.push((key, Value::Tuple(Rc::new(vec![raw, item]))));
        }
        self.sort_keyed(&mut keyed, false)?;
        let mut groups: Vec<(Value<'t>, Value<'t>, Vec<Value<'t>>)> = Vec::new();
        for (key, pair) in keyed {
            let Value::Tuple(pair) = pair else { continue };
            let same = match groups.last() {
                Some((known, _, _)) => equal(known, &key, 0)?,
                None => false,
            };
            match groups.last_mut() {
                Some(group) if same => group.2.push(pair[1].clone()),
                _ => groups.push((key, pair[0].clone(), vec![pair[1].clone()])),
            }
        }
        let made = groups
            .into_iter()
            .map(|(_, raw, items)| Value::Tuple(Rc::new(vec![raw, Value::list(items)])));
        Ok(Value::list(made.collect()))
    }
}

fn slice_columns<'t>(items: Vec<Value<'t>>, count: usize, fill: Option<Value<'t>>) -> Value<'t> {
    let (per_slice, with_extra) = (items.len() / count, items.len() % count);
    let mut columns = Vec::with_capacity(count);
    let mut start = 0;
    for index in 0..count {
        let end = start + per_slice + usize::from(index < with_extra);
        let mut column = items[start..end].to_vec();
        if index >= with_extra
            && let Some(fill) = &fill
        {
            column.push(fill.clone());
        }
        columns.push(Value::list(column));
        start = end;
    }
    generated(columns)
}
