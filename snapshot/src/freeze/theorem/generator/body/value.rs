//! Expressions: each pushes one value.

use wasm_encoder::{AbstractHeapType, HeapType, MemArg, RefType, ValType};

use super::Body;

impl Body<'_> {
    pub(super) fn value(&mut self, ty: ValType) {
        if self.budget == 0 {
            return self.leaf(ty);
        }
        self.budget -= 1;
        match self.random.below(20) {
            0..4 => self.leaf(ty),
            4..7 => {
                if !self.call_giving(&[ty]) {
                    self.leaf(ty);
                }
            }
            7..9 => self.construct(&[ty]),
            9 => {
                self.statement();
                self.value(ty);
            }
            10 => {
                self.value(ty);
                if let Some(local) = self.free_local(ty) {
                    self.code().local_tee(local);
                }
            }
            11 => {
                self.value(ty);
                self.value(ty);
                self.value(ValType::I32);
                self.code().typed_select(ty);
            }
            12 => self.carried(ty),
            _ => self.operation(ty),
        }
    }

    /// A value which `br_if` takes along, or leaves here.
    fn carried(&mut self, ty: ValType) {
        let fit: Vec<_> = (0..)
            .zip(self.labels.iter().rev())
            .filter(|(_, label)| label.counter.is_none() && label.types == [ty])
            .map(|(depth, _)| depth)
            .collect();
        self.value(ty);
        if !fit.is_empty() {
            let depth = *self.random.pick(&fit);
            self.value(ValType::I32);
            self.code().i32_const(7).i32_and().i32_eqz().br_if(depth);
        }
    }

    fn leaf(&mut self, ty: ValType) {
        let readable: Vec<u32> =
            (0..).zip(&self.locals).filter(|(_, local)| **local == ty).map(|(place, _)| place).collect();
        let globals: Vec<u32> =
            (0..).zip(&self.plan.globals).filter(|(_, global)| global.val_type == ty).map(|(place, _)| place).collect();
        match self.random.below(10) {
            0..5 if !readable.is_empty() => {
                let local = *self.random.pick(&readable);
                self.code().local_get(local);
            }
            5..7 if !globals.is_empty() => {
                let global = *self.random.pick(&globals);
                self.code().global_get(global);
            }
            _ => self.literal(ty),
        }
    }

    pub(super) fn literal(&mut self, ty: ValType) {
        let bits = self.random.number();
        let wide = (u128::from(bits) << 64 | u128::from(self.random.number())).cast_signed();
        let special = self.random.chance(50);
        match ty {
            ValType::I32 => {
                let value = if special { *self.random.pick(&[0, 1, -1, i32::MAX, i32::MIN]) } else { bits as i32 };
                self.code().i32_const(value);
            }
            ValType::I64 => {
                let value =
                    if special { *self.random.pick(&[0, 1, -1, i64::MAX, i64::MIN]) } else { bits.cast_signed() };
                self.code().i64_const(value);
            }
            ValType::F32 => {
                // Zeros, infinity, and NaNs which are not canonical.
                let bits = if special {
                    *self.random.pick(&[0, 0x8000_0000, 0x7F80_0000, 0x7FC0_1234, 0xFFA0_0001])
                } else {
                    bits as u32
                };
                self.code().f32_const(f32::from_bits(bits).into());
            }
            ValType::F64 => {
                let bits = if special {
                    *self.random.pick(&[0, 1 << 63, 0x7FF0_0000_0000_0001, 0xFFF8_0000_0000_1234])
                } else {
                    bits
                };
                self.code().f64_const(f64::from_bits(bits).into());
            }
            ValType::V128 => {
                self.code().v128_const(wide);
            }
            ValType::Ref(reference) => self.reference(reference),
        }
    }

    fn reference(&mut self, reference: RefType) {
        if reference == RefType::FUNCREF && self.random.chance(70) {
            let function = self.random.below(self.plan.imports + self.plan.functions.len());
            self.code().ref_func(super::index(function));
        } else if reference == RefType::FUNCREF {
            self.code().ref_null(HeapType::FUNC);
        } else if reference == RefType::EXNREF {
            self.code().ref_null(HeapType::Abstract { shared: false, ty: AbstractHeapType::Exn });
        } else {
            self.code().ref_null(HeapType::EXTERN);
        }
    }

    fn operation(&mut self, ty: ValType) {
        match ty {
            ValType::I32 => self.i32(),
            ValType::I64 => self.i64(),
            ValType::F32 => self.f32(),
            ValType::F64 => self.f64(),
            ValType::V128 => self.v128(),
            ValType::Ref(RefType::FUNCREF) if self.random.chance(50) => {
                self.value(ValType::I32);
                self.code().i32_const(3).i32_and().table_get(1);
            }
            ValType::Ref(_) => self.leaf(ty),
        }
    }

    fn two(&mut self, ty: ValType) {
        self.value(ty);
        self.value(ty);
    }

    fn i32(&mut self) {
        match self.random.below(18) {
            0..4 => {
                self.two(ValType::I32);
                match self.random.below(8) {
                    0..2 => self.code().i32_add(),
                    2 => self.code().i32_sub(),
                    3 => self.code().i32_mul(),
                    4 => self.code().i32_xor(),
                    5 => self.code().i32_shl(),
                    6 => self.code().i32_lt_s(),
                    _ => self.code().i32_const(1).i32_or().i32_div_u(),
                };
            }
            4 => {
                self.two(ValType::I64);
                self.code().i64_gt_u();
            }
            5 => {
                self.two(ValType::F32);
                self.code().f32_le();
            }
            6 => {
                self.two(ValType::F64);
                self.code().f64_ne();
            }
            7 => {
                self.value(ValType::I64);
                self.code().i32_wrap_i64();
            }
            8 => {
                self.value(ValType::F32);
                self.code().i32_reinterpret_f32();
            }
            9 => {
                self.value(ValType::F64);
                self.code().i32_trunc_sat_f64_s();
            }
            10 => {
                self.value(ValType::V128);
                self.code().i32x4_extract_lane(2);
            }
            11 => {
                self.value(ValType::FUNCREF);
                self.code().ref_is_null();
            }
            12..15 => {
                let place = self.address();
                self.code().i32_load(place);
            }
            15 => {
                self.code().memory_size(0);
            }
            16 => {
                self.code().i32_const(1).memory_grow(0);
            }
            _ if self.plan.features.tables => {
                self.value(ValType::FUNCREF);
                self.code().i32_const(2).table_grow(1);
            }
            _ => {
                self.code().table_size(1);
            }
        }
    }

    fn i64(&mut self) {
        match self.random.below(8) {
            0..4 => {
                self.two(ValType::I64);
                match self.random.below(5) {
                    0 => self.code().i64_add(),
                    1 => self.code().i64_sub(),
                    2 => self.code().i64_mul(),
                    3 => self.code().i64_rotl(),
                    _ => self.code().i64_xor(),
                };
            }
            4 => {
                self.value(ValType::I32);
                self.code().i64_extend_i32_s();
            }
            5 => {
                self.value(ValType::F64);
                self.code().i64_reinterpret_f64();
            }
            _ => {
                let place = self.address();
                self.code().i64_load(place);
            }
        }
    }

    fn f32(&mut self) {
        match self.random.below(6) {
            0..3 => {
                self.two(ValType::F32);
                match self.random.below(4) {
                    0 => self.code().f32_add(),
                    1 => self.code().f32_mul(),
                    2 => self.code().f32_div(),
                    _ => self.code().f32_min(),
                };
            }
            3 => {
                self.value(ValType::F32);
                self.code().f32_sqrt();
            }
            4 => {
                self.value(ValType::F64);
                self.code().f32_demote_f64();
            }
            _ => {
                let place = self.address();
                self.code().f32_load(place);
            }
        }
    }

    fn f64(&mut self) {
        match self.random.below(6) {
            0..3 => {
                self.two(ValType::F64);
                match self.random.below(4) {
                    0 => self.code().f64_add(),
                    1 => self.code().f64_sub(),
                    2 => self.code().f64_div(),
                    _ => self.code().f64_copysign(),
                };
            }
            3 => {
                self.value(ValType::I64);
                self.code().f64_convert_i64_s();
            }
            4 => {
                self.value(ValType::F32);
                self.code().f64_promote_f32();
            }
            _ => {
                let place = self.address();
                self.code().f64_load(place);
            }
        }
    }

    fn v128(&mut self) {
        match self.random.below(6) {
            0..3 => {
                self.two(ValType::V128);
                match self.random.below(4) {
                    0 => self.code().i32x4_add(),
                    1 => self.code().f32x4_mul(),
                    2 => self.code().f64x2_sub(),
                    _ => self.code().v128_xor(),
                };
            }
            3 => {
                self.value(ValType::I64);
                self.code().i64x2_splat();
            }
            4 => {
                self.value(ValType::F32);
                self.code().f32x4_splat();
            }
            _ => {
                let place = self.address();
                self.code().v128_load(place);
            }
        }
    }

    /// Pushes an address, nearly always of the first page.
    pub(super) fn address(&mut self) -> MemArg {
        let memory = self.random.below(self.plan.memories.len());
        self.value(ValType::I32);
        if !self.random.chance(1) {
            self.code().i32_const(0x3FFF).i32_and();
        }
        if self.plan.memories[memory] {
            self.code().i64_extend_i32_u();
        }
        MemArg { offset: self.random.below(2000) as u64, align: 0, memory_index: super::index(memory) }
    }
}
