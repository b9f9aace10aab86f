//! The body of one function: statements which leave the operand stack as it is, and expressions which push one value.
//!
//! Statements stand between the operands of expressions too, so that host calls find values on the stack.

mod statement;
mod value;

use wasm_encoder::{BlockType, Catch, Function, InstructionSink, ValType};

use super::{PLAIN, Plan, Random, Signature, index};

/// Where a branch may go.
struct Label {
    types: Vec<ValType>,
    /// Rounds left, if it is a loop: every branch to it must take one.
    counter: Option<u32>,
}

pub(super) struct Body<'a> {
    plan: &'a mut Plan,
    random: &'a mut Random,
    /// What the function is to leave.
    results: Vec<ValType>,
    /// All locals, parameters first.
    locals: Vec<ValType>,
    /// Locals which any code may set.
    free: Vec<u32>,
    /// The local which bounds recursion; the entry has none.
    depth: Option<u32>,
    /// The outermost, which is the function's own, first.
    labels: Vec<Label>,
    /// How much may still be written.
    budget: usize,
    out: Vec<u8>,
}

impl<'a> Body<'a> {
    pub(super) fn of(plan: &'a mut Plan, random: &'a mut Random, function: usize) -> Function {
        let Signature { params, results, depth } = plan.signatures[plan.functions[function]].clone();
        let depth = depth.map(index);
        let mut locals = params.clone();
        let palette = PLAIN.into_iter().chain(PLAIN).chain([ValType::FUNCREF, ValType::EXTERNREF]);
        locals.extend(palette.filter(|_| random.chance(80)));
        let free = (0..index(locals.len())).filter(|local| Some(*local) != depth).collect();
        let budget = 10 + random.below(50);
        let labels = vec![Label { types: results.clone(), counter: None }];
        let params = params.len();
        let mut body = Body { plan, random, results, locals, free, depth, labels, budget, out: Vec::new() };
        body.write();
        let declared = body.locals[params..].iter().copied();
        let mut function = Function::new_with_locals_types(declared);
        function.raw(body.out);
        function
    }

    fn write(&mut self) {
        self.leave_when_exhausted();
        let statements = 2 + self.random.below(6);
        self.statements(statements);
        if !(self.random.chance(25) && self.tail_call()) {
            let results = self.results.clone();
            self.produce(&results);
        }
        self.code().end();
    }

    fn code(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.out)
    }

    fn leave_when_exhausted(&mut self) {
        let Some(depth) = self.depth else { return };
        self.burn();
        self.code().local_get(depth).i32_const(0).i32_le_s();
        self.is_exhausted();
        self.code().i32_or().if_(BlockType::Empty);
        self.labels.push(Label { types: Vec::new(), counter: None });
        if self.random.chance(30) {
            self.host_call();
        }
        for ty in self.results.clone() {
            self.literal(ty);
        }
        self.code().return_();
        self.close();
    }

    /// Takes one from the fuel.
    fn burn(&mut self) {
        self.code().global_get(0).i32_const(1).i32_sub().global_set(0);
    }

    fn is_exhausted(&mut self) {
        self.code().global_get(0).i32_const(0).i32_le_s();
    }

    /// Takes a round from a loop, and tells whether there is one more.
    fn goes_on(&mut self, counter: u32) {
        self.burn();
        self.code().local_get(counter).i32_const(1).i32_sub().local_tee(counter).i32_const(0).i32_gt_s();
        self.code().global_get(0).i32_const(0).i32_gt_s().i32_and();
    }

    fn local(&mut self, ty: ValType) -> u32 {
        self.locals.push(ty);
        index(self.locals.len() - 1)
    }

    /// A local of this type which may be set.
    fn free_local(&mut self, ty: ValType) -> Option<u32> {
        let fit: Vec<u32> = self.free.iter().copied().filter(|local| self.locals[*local as usize] == ty).collect();
        (!fit.is_empty()).then(|| *self.random.pick(&fit))
    }

    fn block_type(&mut self, params: &[ValType], results: &[ValType]) -> BlockType {
        match (params, results) {
            ([], []) => BlockType::Empty,
            ([], [result]) => BlockType::Result(*result),
            _ => BlockType::FunctionType(self.plan.ty(params, results)),
        }
    }

    /// Pushes values of these types.
    fn produce(&mut self, types: &[ValType]) {
        if types.len() > 1 && self.budget > 0 && self.random.chance(30) {
            if self.random.chance(50) && self.call_giving(types) {
                return;
            }
            return self.construct(types);
        }
        for ty in types {
            self.value(*ty);
            if self.random.chance(12) {
                self.statement();
            }
        }
    }

    /// Takes values of these types off the stack.
    fn consume(&mut self, types: &[ValType]) {
        for ty in types.iter().rev() {
            match (self.free_local(*ty), self.random.below(10)) {
                (Some(local), 0..6) => {
                    self.code().local_set(local);
                }
                (_, 6 | 7) => self.give_to_host(*ty),
                _ => {
                    self.code().drop();
                }
            }
        }
    }

    /// A block, loop, `if` or `try_table` with some parameters.
    fn construct(&mut self, results: &[ValType]) {
        self.budget = self.budget.saturating_sub(3);
        let params = if self.random.chance(40) { super::types(self.random, 3) } else { Vec::new() };
        self.produce(&params);
        match self.random.below(10) {
            0..2 => self.block(&params, results),
            2..5 => self.repeat(&params, results),
            5..8 => self.branch(&params, results),
            _ if self.plan.features.exceptions => self.handler(&params, results),
            _ => self.block(&params, results),
        }
    }

    fn inside(&mut self, params: &[ValType], results: &[ValType]) {
        self.consume(params);
        let held = if self.random.chance(35) { super::types(self.random, 3) } else { Vec::new() };
        self.produce(&held);
        let statements = self.random.below(4);
        self.statements(statements);
        self.consume(&held);
        if self.random.chance(6) {
            // What follows is dead code: it must be valid all the same.
            self.leave();
        }
        self.produce(results);
    }

    fn block(&mut self, params: &[ValType], results: &[ValType]) {
        let ty = self.block_type(params, results);
        self.code().block(ty);
        self.labels.push(Label { types: results.to_vec(), counter: None });
        self.inside(params, results);
        self.close();
    }

    fn branch(&mut self, params: &[ValType], results: &[ValType]) {
        self.value(ValType::I32);
        let ty = self.block_type(params, results);
        self.code().i32_const(1).i32_and().if_(ty);
        self.labels.push(Label { types: results.to_vec(), counter: None });
        self.inside(params, results);
        if params != results || self.random.chance(60) {
            self.code().else_();
            self.inside(params, results);
        }
        self.close();
    }

    fn repeat(&mut self, params: &[ValType], results: &[ValType]) {
        let counter = self.local(ValType::I32);
        let rounds = 1 + i32::try_from(self.random.below(4)).expect("small");
        let ty = self.block_type(params, results);
        self.code().i32_const(rounds).local_set(counter).loop_(ty);
        self.labels.push(Label { types: params.to_vec(), counter: Some(counter) });
        self.inside(params, params);
        self.goes_on(counter);
        self.code().br_if(0);
        if params != results {
            self.inside(params, results);
        }
        self.close();
    }

    /// ```wat
    /// (block $caught (result T…)
    ///   (try_table (param P…) (result R…) (catch $tag $caught) …)
    ///   (consume R…) (produce T…))
    /// (consume T…) (produce R…)
    /// ```
    fn handler(&mut self, params: &[ValType], results: &[ValType]) {
        let (caught, clause) = self.clause();
        let outer = self.block_type(params, &caught);
        self.code().block(outer);
        self.labels.push(Label { types: caught.clone(), counter: None });
        let mut clauses = self.other_clauses();
        if !self.random.chance(10) {
            let place = self.random.below(clauses.len() + 1);
            clauses.insert(place, clause);
        }
        let ty = self.block_type(params, results);
        self.code().try_table(ty, clauses);
        self.labels.push(Label { types: results.to_vec(), counter: None });
        self.inside(params, results);
        self.close();
        if results == caught && self.random.chance(70) {
            self.close();
            return;
        }
        self.consume(results);
        self.produce(&caught);
        self.close();
        self.consume(&caught);
        self.produce(results);
    }

    /// What a handler's clause brings, and the clause with the label 0.
    fn clause(&mut self) -> (Vec<ValType>, Catch) {
        let tag = self.random.below(self.plan.tags.len());
        let mut types = self.plan.tags[tag].clone();
        let (tag, label) = (index(tag), 0);
        match self.random.below(10) {
            0..6 => (types, Catch::One { tag, label }),
            6..8 => (Vec::new(), Catch::All { label }),
            8 => (vec![ValType::EXNREF], Catch::AllRef { label }),
            _ => {
                types.push(ValType::EXNREF);
                (types, Catch::OneRef { tag, label })
            }
        }
    }

    /// Clauses for labels which happen to fit. Those of loops do, too: each `throw` takes fuel.
    fn other_clauses(&mut self) -> Vec<Catch> {
        let mut clauses = Vec::new();
        for (label, target) in (0..).zip(self.labels.iter().rev()) {
            for (tag, types) in (0..).zip(&self.plan.tags) {
                if *types == target.types && self.random.chance(15) {
                    clauses.push(Catch::One { tag, label });
                }
            }
            if target.types.is_empty() && self.random.chance(5) {
                clauses.push(Catch::All { label });
            }
        }
        clauses
    }

    fn close(&mut self) {
        self.labels.pop();
        self.code().end();
    }
}
