//! Memories and what fills them: they start as large as they have become, with everything that is not zero.

use wasm_encoder::{
    DataCountSection, DataSection, MemorySection, Module,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{Data, DataKind};

use super::{DATA, DATA_COUNT, Unfreezable, Writer, address, reencode};

impl Writer<'_> {
    pub(super) fn memories(&self, module: &mut Module) -> Result<(), Unfreezable> {
        let mut section = MemorySection::new();
        for (ty, image) in self.program.memories.iter().zip(&self.capture.state.memories) {
            let mut encoded = reencode(RoundtripReencoder.memory_type(*ty))?;
            encoded.minimum = image.pages;
            section.memory(encoded);
        }
        if !section.is_empty() {
            module.section(&section);
        }
        Ok(())
    }

    pub(super) fn data_count(&self, module: &mut Module) {
        if self.range(DATA_COUNT).is_some() {
            let runs: usize = self.capture.state.memories.iter().map(|memory| memory.runs.len()).sum();
            let count = self.kept_data().len() + runs;
            module.section(&DataCountSection { count: u32::try_from(count).unwrap_or(u32::MAX) });
        }
    }

    /// The program's data segments, if code names any of them: each must stay in its place.
    fn kept_data(&self) -> &[Data<'_>] {
        if self.program.code().uses_segments { &self.program.data } else { &[] }
    }

    pub(super) fn data(&self, module: &mut Module) {
        let mut section = DataSection::new();
        for (index, data) in (0..).zip(self.kept_data()) {
            let is_left = matches!(data.kind, DataKind::Passive) && !self.dropped.data.contains(&index);
            section.passive(if is_left { data.data.iter().copied() } else { [].iter().copied() });
        }
        let memories = self.capture.state.memories.iter().zip(&self.program.memories);
        for (index, (memory, ty)) in (0..).zip(memories) {
            for run in &memory.runs {
                section.active(index, &address(run.offset, ty.memory64), run.bytes.iter().copied());
            }
        }
        if !section.is_empty() || self.range(DATA).is_some() {
            module.section(&section);
        }
    }
}
