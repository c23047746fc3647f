//! The protobuf schema of a plugin's services, built into its component.

/// Builds a set of descriptors into the component, so that no file has to lie beside it:
///
/// ```ignore
/// // buf build -o src/users.binpb
/// postern_guest::proto_schema!("users.binpb");
/// ```
///
/// The file is a serialized `google.protobuf.FileDescriptorSet` with everything that it imports, beside the
/// source that names it. The services in it become the plugin's; how it takes their messages says
/// `payload` in its manifest. A schema that lies beside the component is used in the place of this one.
#[macro_export]
macro_rules! proto_schema {
    ($file:expr $(,)?) => {
        const _: () = {
            #[cfg(target_arch = "wasm32")]
            #[allow(
                unsafe_code,
                reason = "a section of its own is data that nothing is linked with"
            )]
            #[used]
            #[unsafe(link_section = "postern:proto")]
            static SCHEMA: [u8; ::core::include_bytes!($file).len()] =
                *::core::include_bytes!($file);
            #[cfg(not(target_arch = "wasm32"))]
            const _: &[u8] = ::core::include_bytes!($file);
        };
    };
}
