//! Documents of some routes and services, as texts where they are short.

use std::sync::Arc;

use postern_core::{
    Headers, HttpStatus,
    route::{BodyForm, MethodEnd, PathTemplate, RouteRule},
    service::{CallKind, TypeInfo},
};

use super::*;

/// A service `users` with a method of each form.
fn users() -> ServiceInfo {
    let method = |name: &'static str, request: &'static str, response: &'static str| MethodInfo {
        request: TypeInfo {
            name: request.into(),
        },
        response: TypeInfo {
            name: response.into(),
        },
        ..MethodInfo::unary(name, false)
    };
    let schemas = [
        (
            "GetUser",
            json!({ "title": "GetUser", "type": "object", "properties": { "id": { "type": "string", "description": "Who." } }, "required": ["id"], "additionalProperties": false }),
        ),
        (
            "UpdateUser",
            json!({ "type": "object", "properties": { "id": { "type": "string" }, "kind": { "$ref": "#/$defs/Kind" } }, "required": ["id", "kind"], "$defs": { "Kind": { "enum": ["a", "b"] } } }),
        ),
        (
            "ListUsers",
            json!({ "type": "object", "properties": { "size": { "type": ["integer", "null"] }, "kinds": { "type": "array", "items": { "$ref": "#/$defs/Kind" } } }, "$defs": { "Kind": { "enum": ["a", "b"] } } }),
        ),
        (
            "User",
            json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "User", "type": "object", "properties": { "id": { "type": "string" }, "boss": { "$ref": "#" } } }),
        ),
        (
            "Vec<User>",
            json!({ "type": "array", "items": { "$ref": "#/$defs/User" }, "$defs": { "User": { "type": "object", "properties": { "id": { "type": "string" } } } } }),
        ),
    ];
    let schemas = schemas.map(|(name, schema)| (Text::from(name), Text::from(schema.to_string())));
    ServiceInfo {
        name: "users".into(),
        summary: "Keeps users.".into(),
        methods: vec![
            method("GetUser", "GetUser", "User"),
            method("ListUsers", "ListUsers", "Vec<User>"),
            method("UpdateUser", "UpdateUser", "User"),
            method("Ping", "", ""),
            MethodInfo {
                kind: Some(CallKind::Bidirectional),
                ..method("Chat", "User", "User")
            },
        ],
        schemas: Arc::new(schemas.into()),
        ..ServiceInfo::default()
    }
}

fn route(name: &'static str, verb: &'static str, path: &str, method: &'static str) -> HttpRoute {
    HttpRoute {
        name: name.into(),
        rule: RouteRule {
            methods: vec![verb.into()],
            ..RouteRule::new(PathTemplate::parse(path).expect("a path"))
        },
        end: RouteEnd::Method(MethodEnd {
            service: "users".into(),
            method: method.into(),
            version: None,
            body: BodyForm::Json,
            types: BTreeMap::new(),
            produces: Vec::new(),
            is_checked: false,
            transcoder: None,
        }),
        status: None,
        headers: Headers::new(),
        has_problems: false,
        timeout_ms: None,
    }
}

fn document_of(routes: &[HttpRoute], services: &[ServiceInfo], auth: &Auth) -> Json {
    let services = services.iter().cloned();
    let services = services.map(|service| (service.name.clone(), service));
    document(&Subject {
        title: None,
        listener: Some("http"),
        routes: routes.iter().collect(),
        services: &services.collect(),
        may_call: &|_, method| method != "Secret",
        auth,
    })
}

fn plain(routes: &[HttpRoute]) -> Json {
    document_of(routes, &[users()], &Auth::default())
}

#[test]
fn members_are_in_the_path_the_query_and_the_body() {
    let routes = [
        route("get", "GET", "/users/{id}", "GetUser"),
        route("list", "GET", "/users", "ListUsers"),
        route("change", "PATCH", "/users/{name}", "UpdateUser"),
    ];
    let document = plain(&routes);
    let item = &document["paths"]["/users/{id}"];
    let id = json!([{ "name": "id", "in": "path", "required": true, "description": "Who.",
        "schema": { "type": "string", "description": "Who." } }]);
    assert_eq!(item["get"]["parameters"], id);
    assert_eq!(item["get"]["operationId"], "get");
    assert_eq!(item["get"].get("requestBody"), None);
    let query = json!([
        { "name": "kinds", "in": "query", "required": false,
          "schema": { "type": "array", "items": { "$ref": "#/components/schemas/users.Kind" } } },
        { "name": "size", "in": "query", "required": false, "schema": { "type": ["integer", "null"] } },
    ]);
    assert_eq!(document["paths"]["/users"]["get"]["parameters"], query);
    // The path is called as that of the route before; what is not in it is in the body.
    assert_eq!(item["patch"]["parameters"][0]["name"], "id");
    let body = &item["patch"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(
        *body,
        json!({ "$ref": "#/components/schemas/users.UpdateUser" })
    );
    let routes = [route("change", "PATCH", "/users/{id}", "UpdateUser")];
    let document = plain(&routes);
    let body = &document["paths"]["/users/{id}"]["patch"]["requestBody"];
    let expected = json!({ "type": "object", "required": ["kind"],
        "properties": { "kind": { "$ref": "#/components/schemas/users.Kind" } } });
    assert_eq!(body["content"]["application/json"]["schema"], expected);
    assert_eq!(body["required"], true);
}

#[test]
fn every_method_is_there_with_its_types_and_streams() {
    let document = plain(&[]);
    let at = |method: &str| &document["paths"][format!("/v1/services/users/{method}")]["post"];
    let user = json!({ "$ref": "#/components/schemas/users.User" });
    assert_eq!(
        at("GetUser")["responses"]["200"]["content"]["application/json"]["schema"],
        user
    );
    assert_eq!(at("GetUser")["operationId"], "users.GetUser");
    assert_eq!(at("Ping").get("requestBody"), None);
    assert_eq!(
        at("Chat")["requestBody"]["content"]["application/x-ndjson"]["schema"],
        user
    );
    let replies = at("Chat")["responses"]["200"]["content"]
        .as_object()
        .expect("two");
    assert_eq!(
        replies.keys().collect::<Vec<_>>(),
        ["application/x-ndjson", "text/event-stream"]
    );
    // A list stands where it is used; its user is another than the one that has a boss.
    let list = &at("ListUsers")["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(
        list["items"],
        json!({ "$ref": "#/components/schemas/users.User_2" })
    );
    let user = &document["components"]["schemas"]["users.User"];
    assert_eq!(
        user["properties"]["boss"],
        json!({ "$ref": "#/components/schemas/users.User" })
    );
    assert_eq!((user.get("title"), user.get("$schema")), (None, None));
    assert_eq!(document["tags"][0]["description"], "Keeps users.");
}

#[test]
fn without_schemas_everything_is_there_and_may_be_anything() {
    let bare = ServiceInfo {
        name: "a/b".into(),
        ..ServiceInfo::default()
    };
    let old = ServiceInfo {
        schemas: Arc::default(),
        ..users()
    };
    let document = document_of(
        &[route("get", "GET", "/users/{id:int}/{rest*}", "GetUser")],
        &[bare, old],
        &Auth::default(),
    );
    let any = &document["paths"]["/v1/services/a%2Fb/{method}"]["post"];
    assert_eq!(any["parameters"][0]["name"], "method");
    assert_eq!(
        any["requestBody"]["content"]["application/json"]["schema"],
        json!({})
    );
    let get = &document["paths"]["/users/{id}/{rest}"]["get"];
    assert_eq!(get["parameters"][0]["schema"], json!({ "type": "integer" }));
    assert_eq!(
        get["responses"]["200"]["content"]["application/json"]["schema"],
        json!({})
    );
}

#[test]
fn a_caller_sees_what_it_may_call_by_its_listener() {
    let mut elsewhere = route("there", "GET", "/there", "GetUser");
    elsewhere.rule.listeners = vec!["other".into()];
    let mut nobody = route("nobody", "GET", "/nobody", "Get");
    if let RouteEnd::Method(end) = &mut nobody.end {
        end.service = "nobody".into();
    }
    let routes = [
        elsewhere,
        nobody,
        route("secret", "GET", "/secret", "Secret"),
        route("first", "GET", "/a/{x}", "GetUser"),
        route("second", "GET", "/a/{y}", "ListUsers"),
    ];
    let document = plain(&routes);
    let paths = document["paths"].as_object().expect("paths");
    let routed: Vec<_> = paths
        .keys()
        .filter(|path| !path.starts_with("/v1/"))
        .collect();
    assert_eq!(routed, ["/a/{x}"]);
    assert_eq!(document["paths"]["/a/{x}"]["get"]["operationId"], "first");
}

#[test]
fn a_route_says_its_status_its_forms_and_what_it_demands() {
    let mut made = route("make", "POST", "/users", "UpdateUser");
    made.status = HttpStatus::new(201).ok();
    made.has_problems = true;
    made.rule.headers = vec![postern_core::route::FieldRule {
        name: "x-beta".into(),
        value: Some("1".into()),
    }];
    if let RouteEnd::Method(end) = &mut made.end {
        end.body = BodyForm::Form;
        end.produces = vec!["image/png".into()];
    }
    let document = plain(&[made]);
    let post = &document["paths"]["/users"]["post"];
    let replies = &post["responses"];
    assert_eq!(
        replies["201"]["content"],
        json!({ "image/png": { "schema": {} } })
    );
    assert_eq!(replies["default"]["$ref"], "#/components/responses/Problem");
    let bodies = post["requestBody"]["content"].as_object().expect("bodies");
    assert_eq!(bodies.len(), 3);
    let header = json!({ "name": "x-beta", "in": "header", "required": true,
        "schema": { "type": "string", "enum": ["1"] } });
    assert_eq!(post["parameters"], json!([header]));
}

#[test]
fn security_is_what_callers_may_show_and_where_they_must() {
    let text = "[auth]\nauthentication = \"required\"\noptional = [\"users/Ping\"]\noff = [\"users/Chat\"]\n\
                [auth.jwt.a]\nsecret = \"0123456789abcdef0123456789abcdef\"\n\
                [auth.api-keys]\nheader = \"x-key\"\nfile = \"keys.toml\"\n";
    let parsed = crate::config::parse("t", text, &BTreeMap::new());
    let (config, _) = parsed.unwrap_or_else(|faults| panic!("{faults}"));
    let document = document_of(&[], &[users()], &config.auth);
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(
        schemes["api-key"],
        json!({ "type": "apiKey", "in": "header", "name": "x-key" })
    );
    assert_eq!(
        schemes["bearer"],
        json!({ "type": "http", "scheme": "bearer" })
    );
    let of = |method: &str| &document["paths"][format!("/v1/services/users/{method}")]["post"]["security"];
    assert_eq!(*of("GetUser"), json!([{ "api-key": [] }, { "bearer": [] }]));
    assert_eq!(
        *of("Ping"),
        json!([{ "api-key": [] }, { "bearer": [] }, {}])
    );
    assert_eq!(*of("Chat"), json!([]));
    // Without any there is none.
    let document = plain(&[]);
    assert_eq!(document["components"].get("securitySchemes"), None);
}

#[test]
fn a_document_is_the_same_each_time() {
    let routes = [route("get", "GET", "/users/{id}", "GetUser")];
    assert_eq!(plain(&routes).to_string(), plain(&routes).to_string());
}
