//! The directory as plugins look services up in it (import `directory`): the snapshot of the data path, so
//! that a look takes no lock. What a plugin may learn is what the caller may whom it answers.

use postern_core::{Principal, Text, registry::ServiceInstance};
use postern_wasm::ServiceDirectory;
use tokio::sync::watch;

use super::SharedDirectory;

impl ServiceDirectory for SharedDirectory {
    fn instances(&self, service: &str, caller: Option<&Principal>) -> Vec<ServiceInstance> {
        let snapshot = self.snapshot();
        let Some(service) = snapshot.service(&Text::from(service)) else {
            return Vec::new();
        };
        let caller = self.caller_of(caller);
        let all = service.all().iter();
        all.filter(|instance| caller.may_use(&instance.record.entry))
            .cloned()
            .collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        Self::changes(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, directory::LocalService};

    #[test]
    fn a_plugin_finds_what_is_there_and_is_told_of_changes() {
        let directory = SharedDirectory::new(&Config::default()).expect("good settings");
        let mut changes = ServiceDirectory::changes(&*directory);
        assert!(ServiceDirectory::instances(&*directory, "users", None).is_empty());
        changes.borrow_and_update();
        directory.set_local("shop", vec![LocalService::new("users")]);
        assert!(changes.has_changed().expect("it is there"));
        let found = ServiceDirectory::instances(&*directory, "users", None);
        assert_eq!(found.len(), 1);
        assert_eq!(&*found[0].record.key.instance.0, "shop");
        assert!(ServiceDirectory::instances(&*directory, "others", None).is_empty());
    }
}
