//! What one store may hold: linear memories and tables, each kind over all of its core instances together,
//! and the core instances themselves.

use wasmtime::ResourceLimiter;

use crate::{
    limits::{GrowthRefused, PluginLimits},
    store_stats::CountedMemory,
};

/// What one store holds.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Of all linear memories.
    pub(crate) bytes: usize,
    pub(crate) bytes_max: usize,
    counted: CountedMemory,
    /// Of all tables.
    table_elements: usize,
    table_elements_max: usize,
    core_instances_max: usize,
    /// What was refused to grow since the call began; a trap is then put down to that.
    pub(crate) refused: Option<GrowthRefused>,
}

impl Memory {
    pub(crate) const fn new(limits: &PluginLimits, counted: CountedMemory) -> Self {
        Self {
            bytes: 0,
            bytes_max: limits.memory_bytes_max,
            counted,
            table_elements: 0,
            table_elements_max: limits.table_elements_max,
            core_instances_max: limits.core_instances_max,
            refused: None,
        }
    }

    /// What a trap is called; that there are too many core instances is told with their limit.
    pub(crate) fn told(&self, text: String) -> String {
        if text.contains(TOO_MANY_INSTANCES) {
            let most = self.core_instances_max;
            return format!("it has more core instances than its limits.core-instances of {most}");
        }
        text
    }
}

/// As wasmtime says it.
const TOO_MANY_INSTANCES: &str = "instance count too high";

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_sub(current).saturating_add(desired);
        if bytes > self.bytes_max {
            let bytes_max = self.bytes_max;
            self.refused = Some(GrowthRefused::Memory { bytes_max });
            return Ok(false);
        }
        self.bytes = bytes;
        self.counted.set(bytes);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = self.table_elements.saturating_sub(current);
        let elements = elements.saturating_add(desired);
        if elements > self.table_elements_max {
            let elements_max = self.table_elements_max;
            self.refused = Some(GrowthRefused::Tables { elements_max });
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.table_elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.core_instances_max
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn memory(limits: &PluginLimits) -> Memory {
        Memory::new(limits, CountedMemory::new(&Arc::default()))
    }

    #[test]
    fn the_memory_limit_is_over_all_memories_and_exact() {
        let mut memory = memory(&PluginLimits {
            memory_bytes_max: 3 * 65536,
            ..PluginLimits::default()
        });
        assert!(memory.memory_growing(0, 2 * 65536, None).unwrap());
        assert!(memory.memory_growing(0, 65536, None).unwrap());
        assert_eq!((memory.bytes, memory.refused), (3 * 65536, None));
        assert!(!memory.memory_growing(65536, 2 * 65536, None).unwrap());
        let bytes_max = 3 * 65536;
        assert_eq!(memory.refused, Some(GrowthRefused::Memory { bytes_max }));
        assert_eq!(memory.bytes, 3 * 65536);
    }

    #[test]
    fn the_limit_of_tables_is_over_all_tables_and_exact() {
        let mut memory = memory(&PluginLimits {
            table_elements_max: 10,
            ..PluginLimits::default()
        });
        assert!(memory.table_growing(0, 4, None).unwrap());
        assert!(memory.table_growing(0, 6, None).unwrap());
        assert_eq!(memory.refused, None);
        assert!(!memory.table_growing(6, 7, None).unwrap());
        let elements_max = 10;
        assert_eq!(memory.refused, Some(GrowthRefused::Tables { elements_max }));
    }

    #[test]
    fn a_table_at_its_own_maximum_is_no_fault_of_the_limit() {
        let mut memory = memory(&PluginLimits::default());
        assert!(memory.table_growing(0, 4, Some(5)).unwrap());
        assert!(!memory.table_growing(4, 6, Some(5)).unwrap());
        assert_eq!((memory.table_elements, memory.refused), (4, None));
    }
}
