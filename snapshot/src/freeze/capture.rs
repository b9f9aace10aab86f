//! Reads the whole state of a guest which is stopped inside of a host call.
//!
//! Wasmtime's debugging interface sees every frame, and also memories, globals and tables which are not exported, so
//! that the program runs unaltered. Its program counters are offsets in the module, just behind the call.

use std::collections::{BTreeMap, HashMap};

use wasmtime::{AsContextMut, Caller, FrameHandle, Instance, Mutability, Ref, Val};

use super::Unfreezable;
use crate::{
    cleared::{self, Cleared},
    entropy::Dependence,
    program::Shape,
    shadow_stack,
    stack::Stack,
    state::{MemoryImage, State, Value, image},
};

/// One function which has called and waits for the return.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Its index in the module, imports included.
    pub(crate) function: u32,
    /// Where it is: the offset in the module behind the call.
    pub(crate) pc: usize,
    /// Parameters first, as `local.get` numbers them.
    pub(crate) locals: Vec<Value>,
    /// The operand stack, its bottom first. Arguments of the call may still be on it.
    pub(crate) operands: Vec<Value>,
}

/// The host call in which the guest was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostCall {
    /// Index of the imported function.
    pub(crate) import: u32,
    pub(crate) arguments: Vec<Value>,
}

/// A stopped program.
#[derive(Clone, Debug)]
pub(crate) struct Capture {
    /// The innermost first.
    pub(crate) frames: Vec<Frame>,
    pub(crate) call: HostCall,
    pub(crate) state: State,
    pub(crate) instance: Instance,
}

impl Capture {
    /// What differs between this stop and another of the same program.
    pub(crate) fn differences(&self, other: &Self) -> Dependence {
        let place = |capture: &Self| -> Vec<(u32, usize)> {
            capture.frames.iter().map(|frame| (frame.function, frame.pc)).collect()
        };
        if place(self) != place(other) || self.call.import != other.call.import {
            return Dependence::Unknown;
        }
        let values = |capture: &Self| -> Vec<Value> {
            let frames = capture.frames.iter().flat_map(|frame| frame.locals.iter().chain(&frame.operands));
            frames.chain(&capture.call.arguments).copied().collect()
        };
        let mut differences = self.state.differences(&other.state);
        differences.stack = values(self).iter().zip(&values(other)).filter(|(a, b)| a != b).count() as u64;
        Dependence::On(differences)
    }
}

/// How far an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is being instantiated: only its start section can run.
    Starting,
    /// Its entry has been called.
    Entered,
}

/// Reads everything, from inside of a host function and before it has any effect.
///
/// Nothing is asked of a starting instance: its outermost frame belongs to no function, and Wasmtime 48 reads it with
/// the layout of some function's, up to a segmentation fault.
pub(crate) fn capture<T: 'static>(
    caller: &mut Caller<'_, T>,
    shape: Shape,
    phase: Phase,
    import: u32,
    arguments: &[Val],
) -> Result<Capture, Unfreezable> {
    if phase == Phase::Starting {
        return Err(Unfreezable::NotAFunction);
    }
    let (raw, instance) = walk(caller, shape)?;
    let mut reader = Reader::new(instance);
    let mut frames = Vec::with_capacity(raw.len());
    for frame in &raw {
        frames.push(Frame {
            function: frame.function,
            pc: frame.pc,
            locals: reader.values(caller, &frame.locals, || format!("a local of function {}", frame.function))?,
            operands: reader
                .values(caller, &frame.operands, || format!("an operand of function {}", frame.function))?,
        });
    }
    let arguments = reader.values(caller, arguments, || "an argument of the host call".to_owned())?;
    let state = reader.state(caller, shape)?;
    Ok(Capture { frames, call: HostCall { import, arguments }, state, instance })
}

/// Reads the state of the instance whose code has called the host, from inside of a host function.
pub(crate) fn state_of<T: 'static>(caller: &mut Caller<'_, T>, shape: Shape) -> Result<State, Unfreezable> {
    let (_, instance) = walk(caller, shape)?;
    Reader::new(instance).state(caller, shape)
}

/// Clears what is dead in the memories of the instance whose code has called the host.
pub(super) fn clear<T: 'static>(caller: &mut Caller<'_, T>, stack: Option<Stack>) -> wasmtime::Result<Cleared> {
    let mut cleared = Cleared::default();
    let Some(innermost) = caller.debug_exit_frames().next() else { return Ok(cleared) };
    let instance = innermost.instance(&mut *caller)?;
    let mut dead_stack = stack.map_or(0, |stack| {
        let pointer = instance.debug_global(caller.as_context_mut(), stack.pointer);
        match pointer.map(|pointer| pointer.get(caller.as_context_mut())) {
            Some(Val::I32(pointer)) => shadow_stack::dead(stack, pointer),
            _ => 0,
        }
    });
    for index in 0.. {
        let Some(memory) = instance.debug_memory(caller.as_context_mut(), index) else { break };
        cleared += cleared::clear(memory.data_mut(caller.as_context_mut()), std::mem::take(&mut dead_stack));
    }
    Ok(cleared)
}

/// Reads the state of an instance which is not running.
pub(crate) fn state(store: &mut impl AsContextMut, instance: Instance, shape: Shape) -> Result<State, Unfreezable> {
    Reader::new(instance).state(store, shape)
}

/// A frame as Wasmtime tells it.
struct RawFrame {
    function: u32,
    pc: usize,
    locals: Vec<Val>,
    operands: Vec<Val>,
}

/// The frames from the innermost to the outermost: all of one instance, and of one entry into it.
fn walk<T: 'static>(caller: &mut Caller<'_, T>, shape: Shape) -> Result<(Vec<RawFrame>, Instance), Unfreezable> {
    let activations: Vec<_> = caller.debug_exit_frames().collect();
    let mut next = match <[FrameHandle; 1]>::try_from(activations) {
        Ok([innermost]) => Some(innermost),
        Err(activations) if activations.is_empty() => return Err(Unfreezable::NoFrame),
        Err(_) => return Err(Unfreezable::Reentered),
    };
    let mut frames = Vec::new();
    let mut instance = None;
    while let Some(frame) = next {
        let of = frame.instance(&mut *caller).map_err(Unfreezable::Debugger)?;
        if *instance.get_or_insert(of) != of {
            return Err(Unfreezable::SeveralInstances);
        }
        frames.push(raw(caller, shape, &frame).map_err(Unfreezable::Debugger)?.ok_or(Unfreezable::NotAFunction)?);
        next = frame.parent(&mut *caller).map_err(Unfreezable::Debugger)?;
    }
    Ok((frames, instance.ok_or(Unfreezable::NoFrame)?))
}

fn raw<T: 'static>(
    caller: &mut Caller<'_, T>,
    shape: Shape,
    frame: &FrameHandle,
) -> wasmtime::Result<Option<RawFrame>> {
    let Some((defined, pc)) = frame.wasm_function_index_and_pc(&mut *caller)? else { return Ok(None) };
    let locals =
        (0..frame.num_locals(&mut *caller)?).map(|i| frame.local(&mut *caller, i)).collect::<Result<_, _>>()?;
    let operands =
        (0..frame.num_stacks(&mut *caller)?).map(|i| frame.stack(&mut *caller, i)).collect::<Result<_, _>>()?;
    let function = defined.as_u32() + shape.imported_functions;
    Ok(Some(RawFrame { function, pc: pc.raw() as usize, locals, operands }))
}

/// Translates an instance's values.
struct Reader {
    instance: Instance,
    /// Function indices by address; filled when a reference is met.
    functions: Option<HashMap<usize, u32>>,
}

impl Reader {
    fn new(instance: Instance) -> Self {
        Self { instance, functions: None }
    }

    fn values(
        &mut self,
        store: &mut impl AsContextMut,
        values: &[Val],
        place: impl Fn() -> String,
    ) -> Result<Vec<Value>, Unfreezable> {
        values.iter().map(|value| self.value(store, value, &place)).collect()
    }

    fn value(
        &mut self,
        store: &mut impl AsContextMut,
        value: &Val,
        place: impl Fn() -> String,
    ) -> Result<Value, Unfreezable> {
        Ok(match value {
            Val::I32(value) => Value::I32(*value),
            Val::I64(value) => Value::I64(*value),
            Val::F32(bits) => Value::F32(*bits),
            Val::F64(bits) => Value::F64(*bits),
            Val::V128(value) => Value::V128(value.as_u128()),
            Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None) | Val::ContRef(None) => {
                Value::Null
            }
            Val::FuncRef(Some(function)) => {
                let address = function.to_raw(store.as_context_mut()) as usize;
                let index = self.functions(store).get(&address);
                Value::Function(*index.ok_or_else(|| Unfreezable::ForeignFunction { place: place() })?)
            }
            Val::ExternRef(Some(_)) | Val::AnyRef(Some(_)) | Val::ExnRef(Some(_)) | Val::ContRef(Some(_)) => {
                return Err(Unfreezable::Reference { place: place() });
            }
        })
    }

    /// Function indices by address. Where several functions are one, an import say, any index will do.
    fn functions(&mut self, store: &mut impl AsContextMut) -> &HashMap<usize, u32> {
        let instance = self.instance;
        self.functions.get_or_insert_with(|| {
            let mut functions = HashMap::new();
            for index in 0.. {
                let Some(function) = instance.debug_function(store.as_context_mut(), index) else { break };
                functions.entry(function.to_raw(store.as_context_mut()) as usize).or_insert(index);
            }
            functions
        })
    }

    fn state(&mut self, store: &mut impl AsContextMut, shape: Shape) -> Result<State, Unfreezable> {
        Ok(State {
            memories: self.memories(store),
            globals: self.globals(store)?,
            tables: self.tables(store, shape.changes_tables)?,
        })
    }

    fn memories(&self, store: &mut impl AsContextMut) -> Vec<MemoryImage> {
        let mut images = Vec::new();
        for index in 0.. {
            let Some(memory) = self.instance.debug_memory(store.as_context_mut(), index) else { break };
            let pages = memory.size(store.as_context_mut());
            images.push(image(pages, memory.data(store.as_context_mut())));
        }
        images
    }

    fn globals(&mut self, store: &mut impl AsContextMut) -> Result<BTreeMap<u32, Value>, Unfreezable> {
        let mut values = BTreeMap::new();
        for index in 0.. {
            let Some(global) = self.instance.debug_global(store.as_context_mut(), index) else { break };
            let value = global.get(store.as_context_mut());
            if global.ty(store.as_context_mut()).mutability() == Mutability::Var {
                values.insert(index, self.value(store, &value, || format!("global {index}"))?);
            } else if is_object(store, &value)? {
                // It would be made anew, without what was written into it.
                return Err(Unfreezable::Reference { place: format!("global {index}") });
            }
        }
        Ok(values)
    }

    fn tables(&mut self, store: &mut impl AsContextMut, changes: bool) -> Result<Vec<Option<Vec<Value>>>, Unfreezable> {
        let mut tables = Vec::new();
        for index in 0.. {
            let Some(table) = self.instance.debug_table(store.as_context_mut(), index) else { break };
            let size = table.size(store.as_context_mut());
            if !changes {
                for entry in 0..size {
                    match table.get(store.as_context_mut(), entry) {
                        Some(Ref::Any(object)) if is_object(store, &Val::AnyRef(object))? => {
                            return Err(Unfreezable::Reference { place: format!("table {index}") });
                        }
                        // Functions have no state.
                        Some(Ref::Func(_)) | None => break,
                        Some(_) => {}
                    }
                }
                tables.push(None);
                continue;
            }
            let mut entries = Vec::new();
            for entry in 0..size {
                let Some(reference) = table.get(store.as_context_mut(), entry) else { break };
                let value = match reference {
                    Ref::Func(function) => Val::FuncRef(function),
                    other if other.is_null() => Val::FuncRef(None),
                    _ => return Err(Unfreezable::Reference { place: format!("table {index}") }),
                };
                entries.push(self.value(store, &value, || format!("table {index}"))?);
            }
            tables.push(Some(entries));
        }
        Ok(tables)
    }
}

/// Whether it refers to something which has state of its own.
fn is_object(store: &mut impl AsContextMut, value: &Val) -> Result<bool, Unfreezable> {
    match value {
        Val::AnyRef(Some(object)) => {
            object.is_i31(store.as_context_mut()).map(|is_number| !is_number).map_err(Unfreezable::Debugger)
        }
        Val::ExternRef(Some(_)) | Val::ExnRef(Some(_)) => Ok(true),
        _ => Ok(false),
    }
}
