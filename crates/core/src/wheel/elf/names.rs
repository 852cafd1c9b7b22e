//! Whose a symbol is, told from its mangled name.

/// `Py_…`, `_Py_…` and `PyObject_…`, in which a capital or an underscore follows the `Py`.
pub(crate) fn is_cpython(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"_").unwrap_or(name);
    let after = name.strip_prefix(b"Py").and_then(<[u8]>::first);
    after.is_some_and(|&byte| byte == b'_' || byte.is_ascii_uppercase())
}

/// Whether torch has to provide an undefined symbol: as C++, or through the C shims of its stable
/// ABI.
pub(crate) fn is_torch_symbol(name: &str) -> bool {
    name.starts_with("aoti_torch_") || name.starts_with("torch_") || is_torch_cxx(name.as_bytes())
}

/// Whether torch's C++ stands in an undefined symbol: as the namespace that has to provide it
/// (functions, vtables `_ZTV`, type information `_ZTI`), or as a type in its signature. The C
/// shims of the stable ABI (`aoti_torch_…`) are none of these.
///
/// `THP…` are the Python bindings inside torch: C names, but no more stable than the rest.
pub(super) fn is_torch_cxx(name: &[u8]) -> bool {
    const NAMESPACES: [&[u8]; 4] = [b"2at", b"3c10", b"5torch", b"6caffe2"];
    if name.starts_with(b"THP") {
        return true;
    }
    if !name.starts_with(b"_Z") {
        return false;
    }
    let nested = |at: usize| {
        let inside = &name[at + 1..];
        let inside = inside.strip_prefix(b"K").unwrap_or(inside);
        NAMESPACES.iter().any(|space| inside.starts_with(space))
    };
    (0..name.len()).any(|at| name[at] == b'N' && nested(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_torch(name: &str, want: bool) {
        assert_eq!(is_torch_cxx(name.as_bytes()), want, "{name}");
    }

    #[test]
    fn torch_is_seen_in_functions_data_and_signatures() {
        for name in [
            "_ZN2at4_ops5empty4callEv",
            "_ZNK2at6Tensor4sizeEv",
            "_ZN3c105ErrorD1Ev",
            "_ZNK3c104Type3strEv",
            "_ZTVN3c1021AutogradMetaInterfaceE",
            "_ZTIN3c105ErrorE",
            "_ZN5torch7LibraryC1Ev",
            "_ZN6caffe28TypeMeta21error_unsupportedEv",
            "_Z16THPVariable_WrapN2at10TensorBaseE",
            "THPVariableClass",
        ] {
            check_torch(name, true);
        }
        for name in [
            "aoti_torch_empty_strided",
            "torch_call_dispatcher",
            "_ZNSt6vectorIiSaIiEE2atEm",
            "_ZN11torchvision3opsEv",
            "_ZN4main2atEv",
            "cudaLaunchKernel",
            "PyObject_Call",
            "",
            "N2at",
        ] {
            check_torch(name, false);
        }
    }

    #[test]
    fn cpython_is_told_from_names_that_start_alike() {
        for name in [
            "PyObject_Call",
            "Py_BuildValue",
            "_Py_NoneStruct",
            "_PyLong_New",
        ] {
            assert!(is_cpython(name.as_bytes()), "{name}");
        }
        for name in ["PythonInit", "Pyramid", "_ZN8pybind11", "Py", ""] {
            assert!(!is_cpython(name.as_bytes()), "{name}");
        }
    }
}
