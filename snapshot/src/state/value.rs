//! Values of a stopped program, and how they are written down again.

use wasm_encoder::{
    ConstExpr, Ieee32, Ieee64, Instruction,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{HeapType, ValType};

use crate::freeze::Unfreezable;

/// A value in a local, on the operand stack, in a global or in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    I32(i32),
    I64(i64),
    /// As bits: NaNs must stay what they are.
    F32(u32),
    F64(u64),
    V128(u128),
    /// A null reference; its type is that of its place.
    Null,
    /// A reference to a function of the module, by index.
    Function(u32),
}

impl Value {
    /// Whether this is what a local starts with.
    pub(crate) fn is_default(self) -> bool {
        matches!(self, Self::I32(0) | Self::I64(0) | Self::F32(0) | Self::F64(0) | Self::V128(0) | Self::Null)
    }

    /// The instruction which pushes it where a `ty` is wanted.
    pub(crate) fn instruction(self, ty: ValType) -> Result<Instruction<'static>, Unfreezable> {
        Ok(match self {
            Self::I32(value) => Instruction::I32Const(value),
            Self::I64(value) => Instruction::I64Const(value),
            Self::F32(bits) => Instruction::F32Const(Ieee32::new(bits)),
            Self::F64(bits) => Instruction::F64Const(Ieee64::new(bits)),
            Self::V128(value) => Instruction::V128Const(value.cast_signed()),
            Self::Function(index) => Instruction::RefFunc(index),
            Self::Null => Instruction::RefNull(null_type(ty)?),
        })
    }

    /// The constant expression for an initial value of type `ty`.
    pub(crate) fn constant(self, ty: ValType) -> Result<ConstExpr, Unfreezable> {
        Ok(match self {
            Self::I32(value) => ConstExpr::i32_const(value),
            Self::I64(value) => ConstExpr::i64_const(value),
            Self::F32(bits) => ConstExpr::f32_const(Ieee32::new(bits)),
            Self::F64(bits) => ConstExpr::f64_const(Ieee64::new(bits)),
            Self::V128(value) => ConstExpr::v128_const(value.cast_signed()),
            Self::Function(index) => ConstExpr::ref_func(index),
            Self::Null => ConstExpr::ref_null(null_type(ty)?),
        })
    }
}

/// The type of a null reference. Those which the validator made are numbered its own way: they cannot be written down.
fn null_type(ty: ValType) -> Result<wasm_encoder::HeapType, Unfreezable> {
    let ValType::Ref(reference) = ty else { return Err(Unfreezable::NullOfUnknownType) };
    let is_writable = match reference.heap_type() {
        HeapType::Abstract { .. } => true,
        HeapType::Concrete(index) | HeapType::Exact(index) => index.as_module_index().is_some(),
    };
    if !is_writable {
        return Err(Unfreezable::NullOfUnknownType);
    }
    RoundtripReencoder.heap_type(reference.heap_type()).map_err(|_| Unfreezable::NullOfUnknownType)
}
