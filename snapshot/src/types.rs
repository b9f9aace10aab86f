//! The types which a snapshot has beyond those of its program.

use wasm_encoder::{
    TypeSection,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{Payload, ValType};

use crate::{freeze::Unfreezable, program::Program};

/// Types `[] -> results`, each once.
pub(crate) struct Types {
    first: u32,
    results: Vec<Vec<ValType>>,
}

impl Types {
    pub(crate) fn new(program: &Program<'_>) -> Self {
        Self { first: program.type_count(), results: Vec::new() }
    }

    /// The index of the type which takes nothing and gives `results`.
    pub(crate) fn giving(&mut self, results: &[ValType]) -> u32 {
        let place = self.results.iter().position(|known| known == results).unwrap_or_else(|| {
            self.results.push(results.to_vec());
            self.results.len() - 1
        });
        self.first + u32::try_from(place).expect("type indices are 32 bits wide")
    }

    /// The program's types, and these behind them.
    pub(crate) fn section(&self, program: &Program<'_>) -> Result<TypeSection, Unfreezable> {
        let mut section = TypeSection::new();
        for payload in &program.payloads {
            if let Payload::TypeSection(types) = payload {
                let result = RoundtripReencoder.parse_type_section(&mut section, types.clone());
                result.map_err(|_| Unfreezable::Reencode)?;
            }
        }
        for results in &self.results {
            let encoded: Result<Vec<_>, _> = results.iter().map(|ty| RoundtripReencoder.val_type(*ty)).collect();
            section.ty().function([], encoded.map_err(|_| Unfreezable::Reencode)?);
        }
        Ok(section)
    }
}
