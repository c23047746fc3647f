//! Generated from the package in `wit`. One module per role, so that a component exports only the roles
//! that it has; the imports are in one, and a component names only those that it uses.
#![allow(
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::or_fun_call,
    clippy::use_self,
    reason = "generated code"
)]

pub mod imports {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world offered { include postern:gateway/imports@0.1.0; import postern:gateway/request@0.1.0; import postern:gateway/response@0.1.0; import postern:gateway/frame@0.1.0; import postern:gateway/candidates@0.1.0; }",
        generate_all,
    });
}

pub mod handler {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world handler-role { export postern:gateway/handler@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_handler",
        default_bindings_module: "::postern_guest::bindings::handler",
    });
}

pub mod text_handler {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world text-role { export postern:gateway/text-handler@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_text_handler",
        default_bindings_module: "::postern_guest::bindings::text_handler",
    });
}

pub mod batch_handler {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world batch-role { export postern:gateway/batch-handler@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_batch_handler",
        default_bindings_module: "::postern_guest::bindings::batch_handler",
    });
}

pub mod stream_handler {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world stream-role { export postern:gateway/stream-handler@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_stream_handler",
        default_bindings_module: "::postern_guest::bindings::stream_handler",
    });
}

pub mod health {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world health-role { export postern:gateway/health@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_health",
        default_bindings_module: "::postern_guest::bindings::health",
    });
}

pub mod describe {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world describe-role { export postern:gateway/describe@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_describe",
        default_bindings_module: "::postern_guest::bindings::describe",
    });
}

pub mod schemas {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world schemas-role { export postern:gateway/schemas@0.1.0; }",
        pub_export_macro: true,
        export_macro_name: "export_schemas",
        default_bindings_module: "::postern_guest::bindings::schemas",
    });
}

pub mod request_interceptor {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world request-interceptor-role { export postern:gateway/request-interceptor@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_request_interceptor",
        default_bindings_module: "::postern_guest::bindings::request_interceptor",
    });
}

pub mod response_interceptor {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world response-interceptor-role { export postern:gateway/response-interceptor@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_response_interceptor",
        default_bindings_module: "::postern_guest::bindings::response_interceptor",
    });
}

pub mod frame_extension {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world frame-extension-role { export postern:gateway/frame-extension@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_frame_extension",
        default_bindings_module: "::postern_guest::bindings::frame_extension",
    });
}

pub mod balancer {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world balancer-role { export postern:gateway/balancer@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_balancer",
        default_bindings_module: "::postern_guest::bindings::balancer",
    });
}

pub mod authenticator {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world authenticator-role { export postern:gateway/authenticator@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_authenticator",
        default_bindings_module: "::postern_guest::bindings::authenticator",
    });
}

pub mod authorizer {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world authorizer-role { export postern:gateway/authorizer@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_authorizer",
        default_bindings_module: "::postern_guest::bindings::authorizer",
    });
}

pub mod event_handler {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world event-handler-role { export postern:gateway/event-handler@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        pub_export_macro: true,
        export_macro_name: "export_event_handler",
        default_bindings_module: "::postern_guest::bindings::event_handler",
    });
}

#[cfg(feature = "async-streams")]
pub mod async_stream_handler {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package postern:guest; world async-stream-role { import postern:gateway/async-call@0.1.0; export postern:gateway/async-stream-handler@0.1.0; }",
        with: { "postern:gateway/types@0.1.0": crate::bindings::imports::postern::gateway::types },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_async_stream_handler",
        default_bindings_module: "::postern_guest::bindings::async_stream_handler",
    });
}
