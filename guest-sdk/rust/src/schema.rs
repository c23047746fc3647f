//! Schemas of the types that methods take and give: of those that implement [`JsonSchema`], which the
//! derive of `schemars` does. `#[postern_guest::service]` collects them; nothing here is written by hand.

use std::marker::PhantomData;

use schemars::generate::SchemaSettings;

/// What says how a type is written as JSON; derive it beside `Serialize` and `Deserialize`.
pub use schemars::JsonSchema;

/// The types of a service, in the order in which its methods name them.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct ServiceSchemas(Vec<(String, String)>);

/// Which way a type goes: what may be left out of a request may always be there in a reply.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    Request,
    Reply,
}

/// Stands for a type that may have a schema or not.
#[doc(hidden)]
#[derive(Debug)]
pub struct Typed<T>(PhantomData<T>);

/// The schema of a type that has one. Found before [`Unknown`], because it needs one reference less.
#[doc(hidden)]
pub trait Known {
    fn schema(&self, contract: Contract) -> Option<String>;
}

/// No schema, of a type that says nothing.
#[doc(hidden)]
pub trait Unknown {
    fn schema(&self, contract: Contract) -> Option<String>;
}

impl<T> Typed<T> {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "called by generated code alone")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: JsonSchema> Known for &Typed<T> {
    fn schema(&self, contract: Contract) -> Option<String> {
        let settings = SchemaSettings::draft2020_12();
        let settings = match contract {
            Contract::Request => settings.for_deserialize(),
            Contract::Reply => settings.for_serialize(),
        };
        let schema = settings.into_generator().into_root_schema_for::<T>();
        serde_json::to_string(&schema).ok()
    }
}

impl<T> Unknown for Typed<T> {
    fn schema(&self, _: Contract) -> Option<String> {
        None
    }
}

impl ServiceSchemas {
    /// Adds the schema of a type, unless one of that name is there: what is taken is named before what
    /// is given.
    pub fn add(&mut self, name: &str, schema: Option<String>) {
        let is_known = self.0.iter().any(|(known, _)| known == name);
        if let Some(schema) = schema.filter(|_| !is_known) {
            self.0.push((name.to_owned(), schema));
        }
    }

    /// Adds the types of another service of the component, as [`ServiceSchemas::add`] does.
    pub fn extend(&mut self, types: Vec<(String, String)>) {
        for (name, schema) in types {
            self.add(&name, Some(schema));
        }
    }

    #[must_use]
    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}
