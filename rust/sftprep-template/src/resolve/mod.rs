//! Names to slots, by Jinja2's scoping rules.
//!
//! `for`, `macro`, `call`, `filter`, `with`, `generation` and block `set` open a scope; `if`
//! does not. A name assigned somewhere in a scope lives in that scope. What it holds before its
//! first assignment: the outer scope's value if there is one, else the request's variable if the
//! assignment is conditional or the name was read before, else undefined.

mod exprs;
mod short;

use std::collections::{HashMap, HashSet};

use crate::ast::{Expr, For, Init, Macro, Name, Program, Scope, Source, Stmt, Target, VarRef};
use crate::error::Res;
use crate::walk::{mentions, mentions_loop, reads_previous_item};

#[derive(Clone, Copy, PartialEq)]
enum Load {
    Param,
    Undefined,
    /// From the request.
    Context,
    /// A copy of an outer scope's slot, as (unit, slot).
    Outer(u32, u32),
    /// The outer name is itself a plain read of the request.
    OuterContext,
}

#[derive(Clone, Copy)]
struct Symbol {
    load: Load,
    slot: Option<u32>,
}

#[derive(Default)]
struct Symbols {
    /// In order of first mention, so that slots do not depend on hashing.
    order: Vec<Box<str>>,
    refs: HashMap<Box<str>, Symbol>,
    stores: HashSet<Box<str>>,
    unit: u32,
}

struct Resolver {
    scopes: Vec<Symbols>,
    /// Slots used so far by each function body around the current place.
    units: Vec<u32>,
    names: Vec<(Box<str>, Source)>,
    name_index: HashMap<Box<str>, u32>,
}

pub(crate) fn resolve(mut body: Vec<Stmt>, has_generation: bool) -> Res<Program> {
    let mut resolver = Resolver {
        scopes: Vec::new(),
        units: vec![0],
        names: Vec::new(),
        name_index: HashMap::new(),
    };
    resolver.push();
    resolver.analyze_all(&body, false);
    let scope = resolver.finish_scope();
    resolver.resolve_all(&mut body, false)?;
    Ok(Program {
        body,
        scope,
        slots: resolver.units[0],
        names: resolver.names,
        has_generation,
    })
}

// First pass over a scope: which names it reads and assigns.
impl Resolver {
    fn push(&mut self) {
        let unit = self.units.len() as u32 - 1;
        self.scopes.push(Symbols {
            unit,
            ..Symbols::default()
        });
    }

    fn top(&mut self) -> &mut Symbols {
        self.scopes
            .last_mut()
            .expect("a scope is open while statements are visited")
    }

    fn find(&self, name: &str, depth: usize) -> Option<(u32, Symbol)> {
        self.scopes[..depth]
            .iter()
            .rev()
            .find_map(|scope| scope.refs.get(name).map(|symbol| (scope.unit, *symbol)))
    }

    fn outer_load(&self, name: &str) -> Option<Load> {
        let (unit, symbol) = self.find(name, self.scopes.len() - 1)?;
        Some(
            symbol
                .slot
                .map_or(Load::OuterContext, |slot| Load::Outer(unit, slot)),
        )
    }

    fn define(&mut self, name: &str, load: Load) {
        let top = self.top();
        if top
            .refs
            .insert(name.into(), Symbol { load, slot: None })
            .is_none()
        {
            top.order.push(name.into());
        }
    }

    fn load(&mut self, name: &str) {
        if self.find(name, self.scopes.len()).is_none() {
            self.define(name, Load::Context);
        }
    }

    fn store(&mut self, name: &str, branch: bool) {
        let outer = self.outer_load(name);
        let known = self.top().refs.contains_key(name);
        let first = self.top().stores.insert(name.into());
        if branch && first {
            self.define(name, outer.unwrap_or(Load::Context));
        } else if !known {
            self.define(name, outer.unwrap_or(Load::Undefined));
        }
    }

    fn param(&mut self, name: &str) {
        self.top().stores.insert(name.into());
        self.define(name, Load::Param);
    }

    fn target(&mut self, target: &Target, branch: bool) {
        match target {
            Target::Name(name) => self.store(&name.name, branch),
            Target::Tuple(items, _) => {
                for item in items {
                    self.target(item, branch);
                }
            }
            Target::Namespace(name, _, _) => self.load(&name.name),
        }
    }

    fn target_params(&mut self, target: &Target) {
        match target {
            Target::Name(name) => self.param(&name.name),
            Target::Tuple(items, _) => items.iter().for_each(|item| self.target_params(item)),
            Target::Namespace(..) => {}
        }
    }

    fn analyze_all(&mut self, body: &[Stmt], branch: bool) {
        for stmt in body {
            self.analyze(stmt, branch);
        }
    }

    fn analyze(&mut self, stmt: &Stmt, branch: bool) {
        match stmt {
            Stmt::Emit(expr) | Stmt::CallBlock(expr, _) | Stmt::FilterBlock(expr, _, _) => {
                self.expr(expr);
            }
            Stmt::If(arms, otherwise) => {
                for (test, body) in arms {
                    self.expr(test);
                    self.analyze_all(body, true);
                }
                self.analyze_all(otherwise, true);
            }
            Stmt::For(node) => self.expr(&node.iter),
            Stmt::Set(target, value) => {
                self.expr(value);
                self.target(target, branch);
            }
            Stmt::SetBlock(node) => self.target(&node.target, branch),
            Stmt::Macro(name, _) => self.store(&name.name, branch),
            Stmt::With(node) => node.targets.iter().for_each(|(_, value)| self.expr(value)),
            Stmt::Text(_)
            | Stmt::Generation(..)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::NoLoader(..) => {}
        }
    }

    fn expr(&mut self, expr: &Expr) {
        crate::walk::expr_names(expr, &mut |name| self.load(name));
    }

    /// Gives slots to the names of the scope on top and says how to fill them on entry.
    fn finish_scope(&mut self) -> Scope {
        let top = self.scopes.len() - 1;
        let unit = self.scopes[top].unit;
        let mut scope = Scope::default();
        for name in self.scopes[top].order.clone() {
            let symbol = self.scopes[top].refs[&name];
            if symbol.load == Load::Context && !self.scopes[top].stores.contains(&name) {
                continue;
            }
            let slot = self.units[unit as usize];
            self.units[unit as usize] += 1;
            let init = match symbol.load {
                Load::Param => None,
                Load::Undefined => Some(Init::Undefined(name.clone())),
                Load::Context | Load::OuterContext => {
                    Some(Init::Copy(VarRef::Context(self.context(&name))))
                }
                Load::Outer(outer, slot) => Some(Init::Copy(relative(unit, outer, slot))),
            };
            if let Some(init) = init {
                scope.init.push((slot, init));
            }
            if let Some(symbol) = self.scopes[top].refs.get_mut(&name) {
                symbol.slot = Some(slot);
            }
        }
        scope
    }

    fn context(&mut self, name: &str) -> u32 {
        if let Some(index) = self.name_index.get(name) {
            return *index;
        }
        let index = self.names.len() as u32;
        self.names.push((name.into(), Source::from_name(name)));
        self.name_index.insert(name.into(), index);
        index
    }
}

fn relative(unit: u32, target: u32, slot: u32) -> VarRef {
    if unit == target {
        VarRef::Slot(slot)
    } else {
        VarRef::Up(unit - target, slot)
    }
}

// Second pass: write the slots into the tree, opening the inner scopes.
impl Resolver {
    fn name(&mut self, name: &mut Name) {
        let unit = self.units.len() as u32 - 1;
        name.var = match self.find(&name.name, self.scopes.len()) {
            Some((
                owner,
                Symbol {
                    slot: Some(slot), ..
                },
            )) => relative(unit, owner, slot),
            _ => VarRef::Context(self.context(&name.name)),
        };
    }

    fn slot_of(&self, name: &str) -> u32 {
        let top = self.scopes.len() - 1;
        self.scopes[top]
            .refs
            .get(name)
            .and_then(|symbol| symbol.slot)
            .unwrap_or(0)
    }

    fn resolve_target(&mut self, target: &mut Target) {
        match target {
            Target::Name(name) | Target::Namespace(name, _, _) => self.name(name),
            Target::Tuple(items, _) => {
                for item in items {
                    self.resolve_target(item);
                }
            }
        }
    }

    fn resolve_all(&mut self, body: &mut [Stmt], soft: bool) -> Res<()> {
        body.iter_mut()
            .try_for_each(|stmt| self.resolve_stmt(stmt, soft))
    }

    fn resolve_stmt(&mut self, stmt: &mut Stmt, soft: bool) -> Res<()> {
        match stmt {
            Stmt::Emit(expr) => self.resolve_expr(expr, soft),
            Stmt::If(arms, otherwise) => {
                for (test, body) in arms {
                    self.resolve_expr(test, true)?;
                    self.resolve_all(body, true)?;
                }
                self.resolve_all(otherwise, true)
            }
            Stmt::For(node) => self.resolve_for(node, soft),
            Stmt::Set(target, value) => {
                self.resolve_expr(value, soft)?;
                self.resolve_target(target);
                Ok(())
            }
            Stmt::SetBlock(node) => {
                node.scope = self.block(&mut node.body)?;
                if let Some(filter) = &mut node.filter {
                    self.resolve_expr(filter, false)?;
                }
                self.resolve_target(&mut node.target);
                Ok(())
            }
            Stmt::Macro(name, node) => {
                self.resolve_macro(node)?;
                self.name(name);
                Ok(())
            }
            Stmt::CallBlock(call, node) => {
                self.resolve_macro(node)?;
                self.resolve_expr(call, soft)
            }
            Stmt::FilterBlock(filter, body, scope) => {
                *scope = self.block(body)?;
                self.resolve_expr(filter, false)
            }
            Stmt::With(node) => {
                for (_, value) in &mut node.targets {
                    self.resolve_expr(value, soft)?;
                }
                self.push();
                for (target, _) in &node.targets {
                    self.target_params(target);
                }
                self.analyze_all(&node.body, false);
                node.scope = self.finish_scope();
                for (target, _) in &mut node.targets {
                    self.resolve_target(target);
                }
                let result = self.resolve_all(&mut node.body, false);
                self.scopes.pop();
                result
            }
            Stmt::Generation(body, scope) => {
                *scope = self.block(body)?;
                Ok(())
            }
            Stmt::Text(_) | Stmt::Break | Stmt::Continue | Stmt::NoLoader(..) => Ok(()),
        }
    }

    /// A body with a scope of its own, in the same function.
    fn block(&mut self, body: &mut [Stmt]) -> Res<Scope> {
        self.push();
        self.analyze_all(body, false);
        let scope = self.finish_scope();
        let result = self.resolve_all(body, false);
        self.scopes.pop();
        result.map(|()| scope)
    }

    fn resolve_for(&mut self, node: &mut For, soft: bool) -> Res<()> {
        self.resolve_expr(&mut node.iter, soft)?;
        let unit = self.units.len() - 1;
        let first = self.units[unit];
        if let (Some(test), Some(target)) = (&mut node.test, &mut node.test_target) {
            self.push();
            self.target_params(target);
            self.expr(test);
            node.test_scope = self.finish_scope();
            self.resolve_target(target);
            let result = self.resolve_expr(test, false);
            self.scopes.pop();
            result?;
        }
        self.push();
        let uses_loop = node.recursive || mentions_loop(&node.body);
        if uses_loop {
            self.param("loop");
        }
        self.target_params(&node.target);
        self.analyze_all(&node.body, false);
        node.body_scope = self.finish_scope();
        node.loop_slot = uses_loop.then(|| self.slot_of("loop"));
        node.keeps_items = reads_previous_item(&node.body);
        self.resolve_target(&mut node.target);
        let result = self.resolve_all(&mut node.body, false);
        self.scopes.pop();
        result?;
        node.slots = (first, self.units[unit]);
        node.else_scope = self.block(&mut node.otherwise)?;
        Ok(())
    }

    fn resolve_macro(&mut self, node: &mut Macro) -> Res<()> {
        self.units.push(0);
        self.push();
        for (param, _) in &node.params {
            self.param(param);
        }
        for default in &node.defaults {
            self.expr(default);
        }
        let special = ["caller", "kwargs", "varargs"]
            .map(|name| mentions(&node.body, name) && !node.params.iter().any(|p| &*p.0 == name));
        for (name, used) in ["caller", "kwargs", "varargs"].into_iter().zip(special) {
            if used {
                self.param(name);
            }
        }
        self.analyze_all(&node.body, false);
        node.scope = self.finish_scope();
        for index in 0..node.params.len() {
            node.params[index].1 = self.slot_of(&node.params[index].0);
        }
        node.caller = special[0].then(|| self.slot_of("caller"));
        node.kwargs = special[1].then(|| self.slot_of("kwargs"));
        node.varargs = special[2].then(|| self.slot_of("varargs"));
        let result = node
            .defaults
            .iter_mut()
            .try_for_each(|default| self.resolve_expr(default, false))
            .and_then(|()| self.resolve_all(&mut node.body, false));
        self.scopes.pop();
        node.slots = self.units.pop().unwrap_or(0);
        result
    }
}
