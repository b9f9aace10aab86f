//! Reads the state of a component through the functions which Wizer adds to it.
//!
//! Wizer's own reader panics when one of them traps. One does if a memory has reached its declared maximum: it needs a
//! page more, to pass on pointer and length.

use std::collections::BTreeMap;

use wasmtime::{
    Store,
    component::{Instance, Lift, WasmList},
};
use wasmtime_wizer::ComponentInstanceState;

use crate::cleared::{self, Cleared};

/// A component whose state is read; the first failure is kept, and what was read after it is void.
pub(super) struct Access<'a, T: 'static> {
    store: &'a mut Store<T>,
    instance: Instance,
    failure: Option<wasmtime::Error>,
    /// What was dead in each memory, by the function which shows it. Wizer looks at a memory several times.
    cleared: BTreeMap<String, Cleared>,
}

impl<'a, T: Send> Access<'a, T> {
    pub(super) fn new(store: &'a mut Store<T>, instance: Instance) -> Self {
        Self { store, instance, failure: None, cleared: BTreeMap::new() }
    }

    /// Tells whether everything could be read, and what of it was dead.
    pub(super) fn finish(self) -> wasmtime::Result<Cleared> {
        let mut all = Cleared::default();
        self.cleared.into_values().for_each(|cleared| all += cleared);
        self.failure.map_or(Ok(all), Err)
    }

    async fn call<R: Lift + 'static>(&mut self, instance: &str, function: &str) -> wasmtime::Result<R> {
        let missing = || wasmtime::format_err!("the component lacks `{instance}#{function}`");
        let (_, outer) = self.instance.get_export(&mut *self.store, None, instance).ok_or_else(missing)?;
        let (_, inner) = self.instance.get_export(&mut *self.store, Some(&outer), function).ok_or_else(missing)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *self.store, inner)?;
        Ok(function.call_async(&mut *self.store, ()).await?.0)
    }

    async fn number<R: Lift + Default + 'static>(&mut self, instance: &str, function: &str) -> R {
        match self.call(instance, function).await {
            Ok(value) => value,
            Err(error) => {
                self.failure.get_or_insert(error);
                R::default()
            }
        }
    }
}

impl<T: Send> ComponentInstanceState for Access<'_, T> {
    async fn call_func_ret_list_u8(&mut self, instance: &str, func: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.call::<WasmList<u8>>(instance, func).await {
            Ok(list) => {
                // It is the whole memory, from address 0 on. Where its stack is, nobody tells.
                let mut memory = list.as_le_slice(&*self.store).to_vec();
                self.cleared.insert(func.to_owned(), cleared::clear(&mut memory, 0));
                contents(&memory);
            }
            Err(error) => {
                // Wizer counts the memories it is shown.
                contents(&[]);
                let error = error.context("a memory has no page left below its maximum, which reading it needs");
                self.failure.get_or_insert(error);
            }
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.number(instance, func).await
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.number(instance, func).await
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.number::<f32>(instance, func).await.to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.number::<f64>(instance, func).await.to_bits()
    }
}
