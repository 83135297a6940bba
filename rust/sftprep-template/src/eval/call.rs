//! Calls: macros, methods, global functions.

use std::rc::Rc;

use super::{Frame, Interp, Owner};
use crate::ast::{Args, Expr, ExprKind, Macro};
use crate::error::{Fault, Res};
use crate::methods::{Access, method_access};
use crate::ops::undefined_error;
use crate::text::Str;
use crate::value::{CallArgs, MacroValue, Undef, Value};

#[cold]
pub(crate) fn args_error(name: &str, problem: &str) -> Fault {
    Fault::type_error(format!("{name}() {problem}"))
}

impl<'t> CallArgs<'t> {
    /// The arguments in the order of `names`; `None` where one was not given.
    pub(crate) fn bind<const N: usize>(
        self,
        function: &str,
        names: [&str; N],
    ) -> Res<[Option<Value<'t>>; N]> {
        let mut bound = [const { None }; N];
        if self.pos.len() > N {
            return Err(args_error(
                function,
                &format!("takes at most {N} arguments"),
            ));
        }
        for (slot, value) in bound.iter_mut().zip(self.pos) {
            *slot = Some(value);
        }
        for (name, value) in self.kw {
            let Some(index) = names.iter().position(|known| *known == name.as_str()) else {
                let problem = format!("got an unexpected keyword argument '{}'", name.as_str());
                return Err(args_error(function, &problem));
            };
            if bound[index].is_some() {
                let problem = format!("got multiple values for argument '{}'", name.as_str());
                return Err(args_error(function, &problem));
            }
            bound[index] = Some(value);
        }
        Ok(bound)
    }

    /// No arguments at all.
    pub(crate) fn none(&self, function: &str) -> Res<()> {
        if self.pos.is_empty() && self.kw.is_empty() {
            return Ok(());
        }
        Err(args_error(function, "takes no arguments"))
    }
}

impl<'t> Interp<'t> {
    pub(super) fn call_args(&mut self, args: &'t Args) -> Res<CallArgs<'t>> {
        if args.is_empty() {
            return Ok(CallArgs::default());
        }
        let mut pos = Vec::with_capacity(args.pos.len());
        for arg in &args.pos {
            pos.push(self.eval(arg)?);
        }
        let mut kw = Vec::with_capacity(args.kw.len());
        for (name, arg) in &args.kw {
            kw.push((Str::literal(name), self.eval(arg)?));
        }
        if let Some(star) = &args.star {
            let value = self.eval(star)?;
            pos.extend(self.collect(&value).map_err(|fault| fault.at(star.at))?);
        }
        if let Some(star_star) = &args.star_star {
            let value = self.eval(star_star)?;
            for (name, value) in self
                .mapping_entries(&value)
                .map_err(|f| f.at(star_star.at))?
            {
                let Value::Str(name) = name else {
                    return Err(Fault::type_error("keywords must be strings").at(star_star.at));
                };
                if kw
                    .iter()
                    .any(|(known, _): &(Str<'t>, _)| known.as_str() == name.as_str())
                {
                    let problem = format!(
                        "got multiple values for keyword argument '{}'",
                        name.as_str()
                    );
                    return Err(args_error("function", &problem).at(star_star.at));
                }
                kw.push((name, value));
            }
        }
        Ok(CallArgs { pos, kw })
    }

    /// The entries of a mapping, with their origins.
    pub(crate) fn mapping_entries(
        &mut self,
        value: &Value<'t>,
    ) -> Res<Vec<(Value<'t>, Value<'t>)>> {
        if !crate::ops::is_mapping(value) {
            return Err(undefined_error(value).unwrap_or_else(|| {
                Fault::type_error(format!("'{}' object is not a mapping", value.type_name()))
            }));
        }
        let view = Value::View(crate::value::View::Items, Rc::new(value.clone()));
        let pairs = self.collect(&view)?;
        Ok(pairs
            .into_iter()
            .filter_map(|pair| match pair {
                Value::Tuple(pair) => Some((pair[0].clone(), pair[1].clone())),
                _ => None,
            })
            .collect())
    }

    #[inline(never)]
    pub(super) fn eval_call(
        &mut self,
        expr: &'t Expr,
        callee: &'t Expr,
        args: &'t Args,
    ) -> Res<Value<'t>> {
        if let ExprKind::Attr(object, name, _) = &callee.kind {
            let object = self.eval(object)?;
            if let Some(made) = self
                .quick_method(&object, name, args)
                .map_err(|fault| fault.at(callee.at))?
            {
                return Ok(made);
            }
            // A method call needs no bound method in between.
            if method_access(object.type_name(), name) == Access::Method {
                let args = self.call_args(args)?;
                return self
                    .call_method(&object, name, args)
                    .map_err(|fault| fault.at(callee.at));
            }
            let function = self
                .attr(&object, Str::literal(name))
                .map_err(|fault| fault.at(callee.at))?;
            let args = self.call_args(args)?;
            return self
                .call_value(&function, args)
                .map_err(|fault| fault.at(callee.at));
        }
        let function = self.eval(callee)?;
        let args = self.call_args(args)?;
        self.call_value(&function, args)
            .map_err(|fault| fault.at(expr.at))
    }

    pub(super) fn call_value(
        &mut self,
        function: &Value<'t>,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        self.step()?;
        match function {
            Value::Macro(bound) => {
                let bound = bound.clone();
                self.with_macro(&bound, args, |interp, node| {
                    let (_, text) = interp.capture(|interp| interp.exec_all(&node.body))?;
                    Ok(Value::Str(text))
                })
            }
            Value::Func(func) => self.call_function(*func, args),
            Value::Method(bound) => {
                let bound = bound.clone();
                self.call_method(&bound.0, bound.1.as_str(), args)
            }
            Value::Loop(state) => {
                let state = state.clone();
                let [items] = args.bind("loop", ["iterable"])?;
                let items = items.ok_or_else(|| args_error("loop", "needs an argument"))?;
                self.recurse(&state, &items)
            }
            Value::Joiner(state) => {
                args.none("joiner")?;
                if state.1.replace(true) {
                    return Ok(Value::Str(state.0.clone()));
                }
                Ok(Value::literal(""))
            }
            _ => Err(undefined_error(function).unwrap_or_else(|| {
                Fault::type_error(format!("'{}' object is not callable", function.type_name()))
            })),
        }
    }

    /// Binds the arguments of a macro and lets `run` run its body.
    pub(super) fn with_macro<R>(
        &mut self,
        bound: &MacroValue<'t>,
        mut args: CallArgs<'t>,
        run: impl FnOnce(&mut Self, &'t Macro) -> Res<R>,
    ) -> Res<R> {
        let node = bound.node;
        if self
            .frames
            .get(bound.frame)
            .is_none_or(|frame| frame.id != bound.frame_id)
        {
            let message = "the macro's surroundings have ended";
            return Err(Fault::value_error(message));
        }
        self.enter_call()?;
        let shown = node.name.as_deref().unwrap_or("caller");
        let mut given = args.pos.into_iter();
        let mut values: Vec<Option<Value<'t>>> = Vec::with_capacity(node.params.len());
        for (name, _) in &node.params {
            let mut value = given.next();
            if value.is_none() {
                value = take_kw(&mut args.kw, name);
            }
            values.push(value);
        }
        let rest: Vec<_> = given.collect();
        let owner = self.macro_owner(values.iter().flatten());
        let base = self.slots.len();
        self.charge(node.slots as usize * std::mem::size_of::<Value<'t>>() / 8)?;
        let empty = || Value::Undefined(Undef::Var(""));
        self.slots
            .extend(std::iter::repeat_with(empty).take(node.slots as usize));
        let caller = node
            .caller
            .map(|slot| (slot, take_kw(&mut args.kw, "caller")));
        if node.kwargs.is_none()
            && let Some((name, _)) = args.kw.first()
        {
            let message = format!(
                "macro '{shown}' takes no keyword argument '{}'",
                name.as_str()
            );
            return Err(Fault::type_error(message));
        }
        if node.varargs.is_none() && !rest.is_empty() {
            let count = node.params.len();
            let message = format!("macro '{shown}' takes not more than {count} argument(s)");
            return Err(Fault::type_error(message));
        }
        let saved = (self.frame, self.base, self.owner);
        let id = self.next_frame_id;
        self.next_frame_id += 1;
        self.frames.push(Frame {
            base,
            parent: bound.frame,
            id,
        });
        self.frame = self.frames.len() - 1;
        self.base = base;
        self.owner = owner;
        if let Some((slot, value)) = caller {
            self.set_slot(
                slot,
                value.unwrap_or_else(|| Value::hint("no caller defined")),
            );
        }
        if let Some(slot) = node.kwargs {
            let entries = args
                .kw
                .into_iter()
                .map(|(name, value)| (Value::Str(name), value));
            self.set_slot(slot, Value::Map(Rc::new(entries.collect())));
        }
        if let Some(slot) = node.varargs {
            self.set_slot(slot, Value::Tuple(Rc::new(rest)));
        }
        let result = self
            .fill_parameters(node, values)
            .and_then(|()| run(self, node));
        self.frames.pop();
        for value in self.slots.drain(base..) {
            if let Value::Str(text) = value {
                self.pool.recycle(text);
            }
        }
        (self.frame, self.base, self.owner) = saved;
        self.calls -= 1;
        result
    }

    fn fill_parameters(&mut self, node: &'t Macro, values: Vec<Option<Value<'t>>>) -> Res<()> {
        self.enter(&node.scope);
        let optional = node.params.len() - node.defaults.len();
        // All given arguments are in place before a default is computed.
        let mut missing = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            let (name, slot) = &node.params[index];
            match value {
                Some(value) => self.set_slot(*slot, value),
                None => missing.push((index, name, *slot)),
            }
        }
        for (index, name, slot) in missing {
            let value = match index
                .checked_sub(optional)
                .and_then(|at| node.defaults.get(at))
            {
                Some(default) => self.eval(default)?,
                None => Value::hint(&format!("parameter '{name}' was not provided")),
            };
            self.set_slot(slot, value);
        }
        Ok(())
    }

    /// A macro given a message writes for that message; else for whoever calls it.
    fn macro_owner<'v>(&self, values: impl Iterator<Item = &'v Value<'t>>) -> Owner
    where
        't: 'v,
    {
        if !self.trace {
            return self.owner;
        }
        let mut values = values;
        match values.find_map(|value| self.message_of(value)) {
            Some(message) => Owner::of_message(message),
            None => Owner {
                scoped: true,
                ..self.owner
            },
        }
    }
}

fn take_kw<'t>(kw: &mut Vec<(Str<'t>, Value<'t>)>, name: &str) -> Option<Value<'t>> {
    let index = kw.iter().position(|(known, _)| known.as_str() == name)?;
    Some(kw.remove(index).1)
}
