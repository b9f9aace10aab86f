//! Statements: they leave the operand stack as it was.

use wasm_encoder::{BlockType, HeapType, RefType, ValType};

use super::{
    super::{SLOTS, small, ty, types},
    Body, index,
};

#[derive(Clone, Copy)]
enum Statement {
    HostCall,
    Call,
    SetLocal,
    SetGlobal,
    Store,
    Construct,
    BranchIf,
    LeaveIf,
    Bulk,
    Table,
    TypedCall,
}

impl Body<'_> {
    pub(super) fn statements(&mut self, count: usize) {
        for _ in 0..count {
            self.statement();
        }
    }

    pub(super) fn statement(&mut self) {
        if self.budget == 0 {
            return;
        }
        self.budget -= 1;
        // The entry calls the other functions, where there is more to see.
        let (host_calls, calls) = if self.depth.is_none() { (6, 40) } else { (16, 18) };
        let statement = self.random.weighted(&[
            (host_calls, Statement::HostCall),
            (calls, Statement::Call),
            (10, Statement::SetLocal),
            (6, Statement::SetGlobal),
            (8, Statement::Store),
            (20, Statement::Construct),
            (6, Statement::BranchIf),
            (4, Statement::LeaveIf),
            (7, Statement::Bulk),
            (8, Statement::Table),
            (3, Statement::TypedCall),
        ]);
        match statement {
            Statement::HostCall => self.host_call(),
            Statement::Call => {
                let results = self.call();
                self.consume(&results);
            }
            Statement::SetLocal => self.set_local(),
            Statement::SetGlobal => self.set_global(),
            Statement::Store => self.store(),
            Statement::Construct => {
                let results = if self.random.chance(50) { types(self.random, 4) } else { Vec::new() };
                self.construct(&results);
                self.consume(&results);
            }
            Statement::BranchIf => self.branch_if(),
            Statement::LeaveIf => {
                self.value(ValType::I32);
                self.code().i32_const(3).i32_and().i32_eqz().if_(BlockType::Empty);
                self.labels.push(super::Label { types: Vec::new(), counter: None });
                self.leave();
                self.close();
            }
            Statement::Bulk => self.bulk(),
            Statement::Table if self.plan.features.tables => self.table(),
            Statement::TypedCall if self.plan.features.typed => self.typed_call(),
            Statement::Table | Statement::TypedCall => self.set_local(),
        }
    }

    pub(super) fn host_call(&mut self) {
        let import = self.random.below(self.plan.imports);
        let results = self.call_signature(import);
        self.consume(&results);
    }

    /// Gives the value on top of the stack to an import which takes no more than that, if there is one.
    pub(super) fn give_to_host(&mut self, ty: ValType) {
        let signatures = &self.plan.signatures[..self.plan.imports];
        match signatures.iter().position(|import| import.params == [ty] && import.results.is_empty()) {
            Some(import) => self.code().call(index(import)),
            None => self.code().drop(),
        };
    }

    fn call(&mut self) -> Vec<ValType> {
        let own = self.plan.signatures.len() - self.plan.imports - 1;
        let signature = self.plan.imports + 1 + self.random.below(own);
        self.call_signature(signature)
    }

    /// Calls something which gives just these.
    pub(super) fn call_giving(&mut self, results: &[ValType]) -> bool {
        match self.giving(results) {
            Some(signature) => {
                self.call_signature(signature);
                true
            }
            None => false,
        }
    }

    /// A signature with these results, rather of a function than of an import.
    fn giving(&mut self, results: &[ValType]) -> Option<usize> {
        let entry = self.plan.imports;
        let fits = |place: &usize| self.plan.signatures[*place].results == results;
        let own: Vec<usize> = (entry + 1..self.plan.signatures.len()).filter(fits).collect();
        let imports = (0..entry).filter(fits);
        let fit = if own.is_empty() || self.random.chance(30) { imports.collect() } else { own };
        (!fit.is_empty()).then(|| *self.random.pick(&fit))
    }

    fn call_signature(&mut self, signature: usize) -> Vec<ValType> {
        self.arguments(signature);
        if self.random.chance(30) {
            self.slot(signature);
            self.code().call_indirect(0, index(signature));
        } else {
            let functions = self.plan.of_signature(signature);
            let function = *self.random.pick(&functions);
            self.code().call(function);
        }
        self.plan.signatures[signature].results.clone()
    }

    fn arguments(&mut self, signature: usize) {
        let callee = self.plan.signatures[signature].clone();
        for (place, ty) in callee.params.iter().enumerate() {
            match (callee.depth == Some(place), self.depth) {
                (true, Some(depth)) => {
                    self.code().local_get(depth).i32_const(1).i32_sub();
                }
                (true, None) => {
                    let depth = 2 + small(self.random.below(12) as u64);
                    self.code().i32_const(depth);
                }
                (false, _) => self.value(*ty),
            }
        }
    }

    /// Pushes the place of some function of this signature in the first table.
    fn slot(&mut self, signature: usize) {
        self.value(ValType::I32);
        let (mask, first) = (SLOTS as u64 - 1, (signature * SLOTS) as u64);
        self.code().i32_const(small(mask)).i32_and().i32_const(small(first)).i32_add();
    }

    fn set_local(&mut self) {
        let ty = ty(self.random);
        let Some(local) = self.free_local(ty) else { return };
        self.value(ty);
        self.code().local_set(local);
    }

    fn set_global(&mut self) {
        let global = 1 + self.random.below(self.plan.globals.len() - 1);
        let ty = self.plan.globals[global];
        if ty.mutable {
            self.value(ty.val_type);
            self.code().global_set(index(global));
        }
    }

    fn store(&mut self) {
        let place = self.address();
        match self.random.below(5) {
            0 => {
                self.value(ValType::I32);
                self.code().i32_store(place);
            }
            1 => {
                self.value(ValType::I64);
                self.code().i64_store(place);
            }
            2 => {
                self.value(ValType::F32);
                self.code().f32_store(place);
            }
            3 => {
                self.value(ValType::I32);
                self.code().i32_store8(place);
            }
            _ => {
                self.value(ValType::V128);
                self.code().v128_store(place);
            }
        }
    }

    /// `br_if` or `br_table`, with what the label wants; both may go on here.
    fn branch_if(&mut self) {
        let depth = self.random.below(self.labels.len());
        let label = &self.labels[self.labels.len() - 1 - depth];
        let (types, counter) = (label.types.clone(), label.counter);
        self.produce(&types);
        match counter {
            Some(counter) => self.goes_on(counter),
            None => {
                self.value(ValType::I32);
                self.code().i32_const(3).i32_and().i32_eqz();
            }
        }
        self.code().br_if(index(depth));
        self.consume(&types);
    }

    /// Goes elsewhere for sure.
    pub(super) fn leave(&mut self) {
        match self.random.below(12) {
            0..3 => {
                let results = self.results.clone();
                self.produce(&results);
                self.code().return_();
            }
            3..6 => self.table_branch(),
            6 if self.tail_call() => {}
            7..9 if self.plan.features.exceptions => self.throw(),
            _ => self.jump(),
        }
    }

    /// To a loop only as long as it goes on; after that to the end of the function.
    fn jump(&mut self) {
        let depth = self.random.below(self.labels.len());
        let label = &self.labels[self.labels.len() - 1 - depth];
        let (types, counter) = (label.types.clone(), label.counter);
        if let Some(counter) = counter {
            self.produce(&types);
            self.goes_on(counter);
            self.code().br_if(index(depth));
            self.consume(&types);
            let results = self.results.clone();
            self.produce(&results);
            self.code().return_();
        } else {
            self.produce(&types);
            self.code().br(index(depth));
        }
    }

    fn table_branch(&mut self) {
        let some = self.random.below(self.labels.len());
        let types = self.labels[some].types.clone();
        let fit: Vec<u32> = (0..)
            .zip(self.labels.iter().rev())
            .filter(|(_, label)| label.counter.is_none() && label.types == types)
            .map(|(depth, _)| depth)
            .collect();
        if fit.is_empty() {
            return self.jump();
        }
        let targets: Vec<u32> = (0..self.random.below(4)).map(|_| *self.random.pick(&fit)).collect();
        let default = *self.random.pick(&fit);
        self.produce(&types);
        self.value(ValType::I32);
        self.code().i32_const(3).i32_and().br_table(targets, default);
    }

    /// Only with fuel, so that a loop of throwing and catching ends.
    fn throw(&mut self) {
        let tag = self.random.below(self.plan.tags.len());
        self.burn();
        self.is_exhausted();
        self.code().if_(BlockType::Empty);
        self.labels.push(super::Label { types: Vec::new(), counter: None });
        let results = self.results.clone();
        self.produce(&results);
        self.code().return_();
        self.close();
        let types = self.plan.tags[tag].clone();
        self.produce(&types);
        self.code().throw(index(tag));
    }

    pub(super) fn tail_call(&mut self) -> bool {
        let results = self.results.clone();
        let Some(signature) = self.giving(&results).filter(|_| self.plan.features.tail_calls) else { return false };
        self.arguments(signature);
        if self.random.chance(40) {
            self.slot(signature);
            self.code().return_call_indirect(0, index(signature));
        } else {
            let functions = self.plan.of_signature(signature);
            let function = *self.random.pick(&functions);
            self.code().return_call(function);
        }
        true
    }

    fn typed_call(&mut self) {
        let signature = loop {
            let signature = self.random.below(self.plan.signatures.len());
            if signature != self.plan.imports {
                break signature;
            }
        };
        let functions = self.plan.of_signature(signature);
        let function = *self.random.pick(&functions);
        let heap_type = HeapType::Concrete(index(signature));
        self.code().ref_func(function);
        let callee = self.local(ValType::Ref(RefType { nullable: true, heap_type }));
        self.code().local_set(callee);
        self.arguments(signature);
        self.code().local_get(callee).call_ref(index(signature));
        let results = self.plan.signatures[signature].results.clone();
        self.consume(&results);
    }

    fn bulk(&mut self) {
        let (to, length) = (small(self.random.below(500) as u64), small(self.random.below(40) as u64));
        let segment = self.random.below(self.plan.data.len());
        match self.random.below(10) {
            0..3 => {
                self.value(ValType::I32);
                self.code().i32_const(0xFFF).i32_and();
                self.value(ValType::I32);
                self.code().i32_const(length).memory_fill(0);
            }
            3..6 => {
                self.code().i32_const(to);
                self.value(ValType::I32);
                self.code().i32_const(0xFFF).i32_and().i32_const(length).memory_copy(0, 0);
            }
            6 if self.plan.features.drops => {
                self.code().data_drop(index(segment));
            }
            _ => {
                let length = small(self.plan.data[segment] as u64);
                self.code().i32_const(to).i32_const(0).i32_const(length).memory_init(0, index(segment));
            }
        }
    }

    fn table(&mut self) {
        let segment = self.random.below(self.plan.elements.len());
        match self.random.below(10) {
            0..2 => {
                self.value(ValType::I32);
                self.code().i32_const(3).i32_and();
                self.value(ValType::FUNCREF);
                self.code().table_set(1);
            }
            2 => {
                self.code().i32_const(1);
                self.value(ValType::FUNCREF);
                self.code().i32_const(2).table_fill(1);
            }
            3 => {
                let from = small(self.random.below(20) as u64);
                self.code().i32_const(0).i32_const(from).i32_const(3).table_copy(1, 0);
            }
            4 if self.plan.features.drops => {
                self.code().elem_drop(index(segment));
            }
            5 | 6 => {
                let length = small(self.plan.elements[segment] as u64);
                self.code().i32_const(0).i32_const(0).i32_const(length).table_init(1, index(segment));
            }
            7 => {
                self.value(ValType::FUNCREF);
                self.code().i32_const(1).table_grow(1).drop();
            }
            _ => {
                // Another callee for indirect calls, or the same.
                let signature = self.random.below(self.plan.signatures.len());
                let functions = self.plan.of_signature(signature);
                let function = *self.random.pick(&functions);
                self.slot(signature);
                self.code().ref_func(function).table_set(0);
            }
        }
    }
}
