//! Role `schemas`: what the types are that `describe` names. Bounded here; whether a text is a schema
//! that can be used says whoever deploys it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use postern_core::{
    Error, Text, json,
    service::{MethodInfo, ServiceInfo, TypeSchemas},
};
use wasmtime::{AsContext, component::Func};

use crate::{
    bindings,
    exports::{self, Export, Functions},
    generation::WorkerShard,
    lease::Lease,
    offload::{self, Purpose},
    outcome::Outcome,
    role::Role,
};

/// `schemas.schemas`.
pub(crate) struct Schemas(bindings::Schemas);

impl Functions for Schemas {
    const ROLE: Role = Role::Schemas;
    const EXPORTS: &'static [Export] = &[Export::new::<(), (Vec<(String, String)>,)>("schemas")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [schemas] = exports::functions(funcs)?;
        Ok(Self(schemas.typed(store)?))
    }
}

/// Types that one plugin may tell of: each of 1,024 methods names two at most, and few are of one alone.
const TYPES_MAX: usize = 1024;
/// Octets of all schemas of one plugin; those of a large service have a tenth of it.
const SCHEMAS_BYTES_MAX: usize = 1024 * 1024;
const NAME_BYTES_MAX: usize = 255;

/// Adds to `services` the schemas of the types that their methods name; none where the generation has
/// no such role.
///
/// # Errors
/// As a call; and `invalid-argument` for what is no JSON, or beyond its bounds.
pub(crate) async fn add(
    shard: Arc<WorkerShard>,
    services: &mut [ServiceInfo],
) -> Result<(), Error> {
    if !shard.generation().has(Role::Schemas) {
        return Ok(());
    }
    let guest = Arc::clone(&shard.generation().guest);
    let asked = Box::pin(ask(shard));
    let told = offload::run(&guest, Purpose::role("schemas"), Err, asked).await?;
    let known = check(told)?;
    for service in services {
        let schemas = named(&service.methods, &known);
        service.add_schemas(&Arc::new(schemas));
    }
    Ok(())
}

async fn ask(shard: Arc<WorkerShard>) -> Result<Vec<(String, String)>, Error> {
    let mut lease = Lease::for_async(shard, None).await?;
    let instance = lease.begin(None);
    let (store, schemas) = instance.parts::<Schemas>();
    let Some(Schemas(schemas)) = schemas else {
        lease.finish(Outcome::Ok);
        return Ok(Vec::new());
    };
    let result = schemas.call_async(store, ()).await;
    match instance.finish(result.map(|(schemas,)| schemas)) {
        Ok(schemas) => {
            lease.finish(Outcome::Ok);
            Ok(schemas)
        }
        Err(trapped) => Err(lease.trap(trapped, Role::Schemas)),
    }
}

/// Those of the types that `methods` name.
fn named(methods: &[MethodInfo], known: &TypeSchemas) -> TypeSchemas {
    let types = methods
        .iter()
        .flat_map(|method| [&method.request, &method.response]);
    let found = types.filter_map(|info| known.get_key_value(info.name.as_str()));
    found
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect()
}

fn check(told: Vec<(String, String)>) -> Result<TypeSchemas, Error> {
    let refused = |message: String| Err(Error::invalid_argument(message));
    let n_types = told.len();
    if n_types > TYPES_MAX {
        return refused(format!("{n_types} types exceed the limit of {TYPES_MAX}"));
    }
    let n_bytes: usize = told.iter().map(|(_, schema)| schema.len()).sum();
    if n_bytes > SCHEMAS_BYTES_MAX {
        return refused(format!(
            "schemas of {n_bytes} octets exceed the limit of {SCHEMAS_BYTES_MAX}"
        ));
    }
    let mut known = BTreeMap::new();
    for (name, schema) in told {
        let length = name.len();
        if !(1..=NAME_BYTES_MAX).contains(&length) {
            return refused(format!(
                "name of a type of {length} octets is not within 1 to {NAME_BYTES_MAX}"
            ));
        }
        if let Err(error) = json::check(schema.as_bytes()) {
            return refused(format!("the schema of type {name} is no JSON: {error}"));
        }
        match known.entry(Text::from(name)) {
            Entry::Vacant(vacant) => drop(vacant.insert(Text::from(schema))),
            Entry::Occupied(same) if *same.get() == *schema => {}
            Entry::Occupied(other) => {
                let name = other.key();
                return refused(format!(
                    "two types are called {name}, and their schemas differ"
                ));
            }
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use postern_core::service::TypeInfo;

    use super::*;

    fn types(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, schema): &(&str, &str)| ((*name).to_owned(), (*schema).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn refusal(told: Vec<(String, String)>) -> Option<String> {
        check(told).err().map(|error| error.message.into_owned())
    }

    #[test]
    fn schemas_are_json_and_bounded() {
        assert_eq!(
            refusal(types(&[("A", "{}"), ("A", "{}"), ("B", "true")])),
            None
        );
        let many = |n: usize| (0..n).map(|n| (n.to_string(), "{}".to_owned())).collect();
        assert_eq!(refusal(many(TYPES_MAX)), None);
        assert_eq!(
            refusal(many(TYPES_MAX + 1)).as_deref(),
            Some("1025 types exceed the limit of 1024")
        );
        let large = |n: usize| vec![("A".to_owned(), format!("\"{}\"", "x".repeat(n)))];
        assert_eq!(refusal(large(SCHEMAS_BYTES_MAX - 2)), None);
        assert_eq!(
            refusal(large(SCHEMAS_BYTES_MAX - 1)).as_deref(),
            Some("schemas of 1048577 octets exceed the limit of 1048576")
        );
        for (told, reason) in [
            (
                types(&[("", "{}")]),
                "name of a type of 0 octets is not within 1 to 255",
            ),
            (
                types(&[("A", "{")]),
                "the schema of type A is no JSON: EOF while parsing an object at line 1 column 1",
            ),
            (
                types(&[("A", "{}"), ("A", "true")]),
                "two types are called A, and their schemas differ",
            ),
        ] {
            assert_eq!(refusal(told).as_deref(), Some(reason));
        }
    }

    #[test]
    fn a_service_has_those_that_its_methods_name() {
        let method = MethodInfo {
            request: TypeInfo { name: "A".into() },
            response: TypeInfo { name: "C".into() },
            ..MethodInfo::unary("Get", true)
        };
        let known = check(types(&[("A", "{}"), ("B", "true")])).expect("good");
        let names: Vec<_> = named(&[method], &known).into_keys().collect();
        assert_eq!(names, ["A"]);
    }
}
