//! The functions that a component exports, without the ones that wit-bindgen would export beside
//! them to free their results (`cabi_post_...`), for each of which the host would enter the component
//! once more. A result stays here until the next call instead, and is freed by it.
//!
//! One module for each role whose functions give something that must be freed. It stands where the
//! generated macro of the role looks for the functions, and has the types from there.
#![allow(unsafe_code, reason = "exports are called by their address")]

use std::cell::Cell;

/// What the host may still be reading, and the function that frees it.
type Kept = (unsafe fn(*mut u8), *mut u8);

thread_local! {
    static KEPT: Cell<Option<Kept>> = const { Cell::new(None) };
}

/// Frees what the call before has given, makes this one, and keeps what it gives.
///
/// # Safety
/// `free` frees what `call` gives. Nothing but a call of this function writes where that lies.
#[doc(hidden)]
pub unsafe fn keep(call: impl FnOnce() -> *mut u8, free: unsafe fn(*mut u8)) -> *mut u8 {
    if let Some((free, result)) = KEPT.take() {
        // SAFETY: the two were given together, and are taken out once.
        unsafe { free(result) };
    }
    let result = call();
    KEPT.set(Some((free, result)));
    result
}

/// Exports functions of one role: for each its name in the component, its generated body, what frees
/// its result, and its parameters.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_kept {
    ($plugin:ident $role:ident
        $($name:literal = $body:ident, $free:ident, ($($arg:ident: $kind:ty),*);)+
    ) => {
        const _: () = {
            use $crate::bindings::$role::exports::postern::gateway::$role as generated;

            $(
                #[unsafe(export_name = $name)]
                unsafe extern "C" fn $body($($arg: $kind),*) -> *mut u8 {
                    unsafe {
                        $crate::exports::keep(
                            || generated::$body::<$plugin>($($arg),*),
                            generated::$free::<$plugin>,
                        )
                    }
                }
            )+
        };
    };
}

/// The module of one role, in which the generated macro finds `$export` under the name that it calls.
macro_rules! role {
    ($role:ident, $called:ident, $export:ident) => {
        #[doc(hidden)]
        pub mod $role {
            pub mod exports {
                pub mod postern {
                    pub mod gateway {
                        pub mod $role {
                            pub use crate::$export as $called;
                        }
                    }
                }
            }
        }
    };
}

role!(
    handler,
    __export_postern_gateway_handler_0_1_0_cabi,
    __handler_exports
);
role!(
    text_handler,
    __export_postern_gateway_text_handler_0_1_0_cabi,
    __text_handler_exports
);
role!(
    batch_handler,
    __export_postern_gateway_batch_handler_0_1_0_cabi,
    __batch_handler_exports
);
role!(
    stream_handler,
    __export_postern_gateway_stream_handler_0_1_0_cabi,
    __stream_handler_exports
);
role!(
    request_interceptor,
    __export_postern_gateway_request_interceptor_0_1_0_cabi,
    __request_interceptor_exports
);
role!(
    response_interceptor,
    __export_postern_gateway_response_interceptor_0_1_0_cabi,
    __response_interceptor_exports
);
role!(
    frame_extension,
    __export_postern_gateway_frame_extension_0_1_0_cabi,
    __frame_extension_exports
);
role!(
    authenticator,
    __export_postern_gateway_authenticator_0_1_0_cabi,
    __authenticator_exports
);
role!(
    authorizer,
    __export_postern_gateway_authorizer_0_1_0_cabi,
    __authorizer_exports
);
role!(
    event_handler,
    __export_postern_gateway_event_handler_0_1_0_cabi,
    __event_handler_exports
);

#[doc(hidden)]
#[macro_export]
macro_rules! __handler_exports {
    ($plugin:ident with_types_in $($types:tt)*) => {
        $crate::__export_kept! {
            $plugin handler
            "postern:gateway/handler@0.1.0#handle" = _export_handle_cabi, __post_return_handle,
                (a: *mut u8, b: usize, c: *mut u8, d: usize, e: *mut u8, f: usize);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __text_handler_exports {
    ($plugin:ident with_types_in $($types:tt)*) => {
        $crate::__export_kept! {
            $plugin text_handler
            "postern:gateway/text-handler@0.1.0#handle-text" = _export_handle_text_cabi, __post_return_handle_text,
                (a: *mut u8, b: usize, c: *mut u8, d: usize, e: *mut u8, f: usize);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __batch_handler_exports {
    ($plugin:ident with_types_in $($types:tt)*) => {
        $crate::__export_kept! {
            $plugin batch_handler
            "postern:gateway/batch-handler@0.1.0#handle-batch" = _export_handle_batch_cabi, __post_return_handle_batch,
                (a: *mut u8, b: usize, c: *mut u8, d: usize, e: *mut u8, f: usize, g: *mut u8, h: usize);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __stream_handler_exports {
    ($plugin:ident with_types_in $($types:tt)*) => {
        $crate::__export_kept! {
            $plugin stream_handler
            "postern:gateway/stream-handler@0.1.0#handle-stream" = _export_handle_stream_cabi, __post_return_handle_stream,
                (a: *mut u8, b: usize, c: *mut u8, d: usize);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __request_interceptor_exports {
    ($plugin:ident with_types_in $($types:tt)*) => {
        $crate::__export_kept! {
            $plugin request_interceptor
            "postern:gateway/request-interceptor@0.1.0#on-request" = _export_on_request_cabi, __post_return_on_request,
                ();
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __response_interceptor_exports {
    ($plugin:ident with_types_in $($types:tt)*) => {
        $crate::__export_kept! {
            $plugin response_interceptor
            "postern:gateway/response-interceptor@0.1.0#on-response" = _export_on_response_cabi, __post_return_on_response,
                ();
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __frame_extension_exports {
    ($plugin:ident with_types_in $($types:tt)*) => {
        $crate::__export_kept! {
            $plugin frame_extension
            "postern:gateway/frame-extension@0.1.0#handle-frame" = _export_handle_frame_cabi, __post_return_handle_frame,
                ();
        }
        const _: () = {
            use $crate::bindings::frame_extension::exports::postern::gateway::frame_extension;

            // Gives nothing that must be freed.
            #[unsafe(export_name = "postern:gateway/frame-extension@0.1.0#should-handle")]
            unsafe extern "C" fn should_handle(a: i32, b: i32, c: i32, d: i32, e: i32) -> i32 {
                unsafe { frame_extension::_export_should_handle_cabi::<$plugin>(a, b, c, d, e) }
            }
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __authenticator_exports {
    ($plugin:ident with_types_in $($types:tt)*) => {
        $crate::__export_kept! {
            $plugin authenticator
            "postern:gateway/authenticator@0.1.0#authenticate" = _export_authenticate_cabi, __post_return_authenticate,
                (a: *mut u8, b: usize, c: *mut u8, d: usize);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __authorizer_exports {
    ($plugin:ident with_types_in $($types:tt)*) => {
        $crate::__export_kept! {
            $plugin authorizer
            "postern:gateway/authorizer@0.1.0#authorize" = _export_authorize_cabi, __post_return_authorize,
                (a: *mut u8, b: usize, c: *mut u8, d: usize);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __event_handler_exports {
    ($plugin:ident with_types_in $($types:tt)*) => {
        $crate::__export_kept! {
            $plugin event_handler
            "postern:gateway/event-handler@0.1.0#on-event" = _export_on_event_cabi, __post_return_on_event,
                (a: *mut u8, b: usize, c: i32, d: *mut u8, e: usize, f: *mut u8, g: usize);
        }
    };
}
