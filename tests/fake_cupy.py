"""A stand-in for CuPy where there is no GPU: its arrays lie on the host, but do not mix with host arrays.

An array here is a box with a NumPy array in it. Functions and methods are NumPy's: they open the boxes they
are given and box what comes out. As in CuPy a NumPy array beside a box is refused, NumPy cannot look into a
box, and `get` is the way back; Python numbers and NumPy scalars go with everything.

The stand-in is stricter where CuPy would quietly copy from the host at every call (a host array as an index,
or assigned through an index array), and where NumPy's name would stand for CuPy's work (np.concatenate of
boxes); it is laxer with a list in place of an array. It cannot show CuPy's rounding, random numbers or speed.
"""

import ctypes
import math
from collections import Counter
from types import SimpleNamespace

import numpy as np

from minipeft.speed import kernels

NOT_IN_CUPY = {  # of what somebody might reach for
    "block", "errstate", "geomspace", "insert", "matvec", "memmap", "nditer", "unstack", "vecdot", "vecmat",
    "getfield", "resize", "setfield", "setflags",
}  # fmt: skip
WAYS_INTO_THE_BOX = {"ctypes", "data", "flat"}
_UFUNC, _TWO = "x out casting dtype", "x1 x2 out casting dtype"
FUNCTIONS = {  # the arguments of what is called most, in CuPy 14
    "add": _TWO, "arange": "start stop step dtype", "concatenate": "tup axis out dtype casting",
    "empty": "shape dtype order", "empty_like": "prototype dtype order subok shape", "exp": _UFUNC,
    "eye": "N M k dtype order", "isfinite": _UFUNC, "log": _UFUNC, "maximum": _TWO, "multiply": _TWO,
    "ones": "shape dtype order", "repeat": "a repeats axis", "sqrt": _UFUNC,
    "stack": "tup axis out dtype casting", "sum": "a axis dtype out keepdims", "tanh": _UFUNC,
    "where": "condition x y", "zeros": "shape dtype order", "zeros_like": "a dtype order subok shape",
}  # fmt: skip
METHODS = {
    "argmax": "axis out dtype keepdims", "astype": "dtype order casting subok copy", "copy": "order",
    "max": "axis out keepdims", "mean": "axis dtype out keepdims", "min": "axis out keepdims",
    "ravel": "order", "repeat": "repeats axis", "sum": "axis dtype out keepdims", "swapaxes": "axis1 axis2",
}  # fmt: skip
OPTIONS_NOT_IN_CUPY = {"initial", "like", "where"}
WITH_AT = {np.add, np.subtract, np.maximum, np.minimum, np.bitwise_and, np.bitwise_or, np.bitwise_xor}


def opened(value, name):
    """The NumPy arrays in the boxes of `value`, an argument of the function `name`."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"cupy's {name} got a NumPy array of shape {value.shape}: move it with `asarray`")
    if isinstance(value, list | tuple):
        return type(value)(opened(item, name) for item in value)
    return value


def boxed(value):
    """`value` with its NumPy arrays in boxes, and its NumPy scalars too: CuPy has 0-d arrays instead."""
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    if isinstance(value, list | tuple):
        return type(value)(boxed(item) for item in value)
    return value


asked = Counter()  # how often a GPU was asked for something, by what was asked
reset = asked.clear
total = asked.total
VIEWS = {"reshape", "ravel", "transpose", "swapaxes", "split", "view", "__getitem__", "empty", "empty_like"}


def launches(name, args):
    """Does a GPU work for this, or is it a view or memory alone? An array as an index is work."""
    if name == "__getitem__":
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(isinstance(i, ndarray | list) for i in index)
    return name not in VIEWS


def on_device(function):
    """NumPy's `function`, from boxes to boxes."""
    name = function.__name__

    of_array = isinstance(getattr(function, "__self__", None), np.ndarray)
    known = (METHODS if of_array else FUNCTIONS).get(name)

    def call(*args, **options):
        if known and (options.keys() - set(known.split()) or len(args) > len(known.split())):
            raise TypeError(f"cupy's {name} takes ({known}), not {len(args)} arguments and {sorted(options)}")
        if refused := OPTIONS_NOT_IN_CUPY & options.keys():
            raise TypeError(f"cupy's {name} has no option {min(refused)!r}")
        if launches(name, args):
            asked[name] += 1
        options = {key: opened(value, name) for key, value in options.items()}
        return boxed(function(*opened(args, name), **options))

    if isinstance(function, np.ufunc) and function in WITH_AT:
        call.at = on_device(function.at)
    return call


class ndarray:
    """An array "on the GPU". What brings numbers to the host, for which it must wait, goes through `get`."""

    __module__ = "cupy"
    __hash__ = None

    def __init__(self, host):
        self._host = host

    def __getattr__(self, name):
        """NumPy's attributes and methods."""
        if name.startswith("_") or name in NOT_IN_CUPY | WAYS_INTO_THE_BOX:
            raise AttributeError(f"cupy.ndarray has no attribute {name!r}")
        value = getattr(self._host, name)
        return on_device(value) if callable(value) else boxed(value)

    def __array__(self, *args, **options):
        raise TypeError("a cupy array does not become a NumPy array by itself: use `.get()`")

    def __array_ufunc__(self, ufunc, method, *args, **options):
        """np.float64(2) * box, np.exp(box); and host array * box, which is refused."""
        return on_device(ufunc)(*args, **options) if method == "__call__" else NotImplemented

    @property
    def data(self):
        """Where its numbers lie, for `gemmEx`."""
        return SimpleNamespace(ptr=self._host.ctypes.data)

    def get(self):
        """A copy on the host."""
        return self._host.copy()

    def item(self, *args):
        return self.get().item(*args)

    def tolist(self):
        return self.get().tolist()

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __bool__(self):
        return bool(self.get())

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __repr__(self):
        return f"cupy {self._host!r}"


BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift")
OTHERS = ("matmul", "rmatmul", "neg", "pos", "abs", "invert", "lt", "le", "eq", "ne", "gt", "ge")
OPERATORS = [*OTHERS, "getitem", "setitem", *(way + name for name in BINARY for way in ("", "r", "i"))]
for _name in OPERATORS:
    setattr(ndarray, f"__{_name}__", on_device(getattr(np.ndarray, f"__{_name}__")))


# -------------------------------------------------------------------------------- functions of the module


def __getattr__(name):
    """cupy.exp, cupy.zeros, cupy.float32, cupy.inf ..."""
    if name.startswith("_") or name in NOT_IN_CUPY:
        raise AttributeError(f"cupy has no {name!r}")
    value = getattr(np, name)
    return on_device(value) if callable(value) and not isinstance(value, type) else value


def array(obj, dtype=None):
    """A copy on the device."""
    return ndarray(np.array(obj if isinstance(obj, np.ndarray) else opened(obj, "array"), dtype=dtype))


def asarray(a, dtype=None):
    """`a` itself where it is on the device, and of that type; else a copy there."""
    return a if isinstance(a, ndarray) and dtype in (None, a.dtype) else array(a, dtype)


def split(ary, indices_or_sections, axis=0):
    """Where to split is said on the host."""
    if isinstance(indices_or_sections, ndarray):
        raise TypeError("cupy's split wants its indices on the host")
    return boxed(np.split(opened(ary, "split"), indices_or_sections, axis))


def default_rng(seed=None):
    """What CuPy's generators have of NumPy's: no `normal`, `choice` or `permutation`."""
    rng = np.random.default_rng(seed)
    methods = (rng.random, rng.standard_normal, rng.uniform, rng.integers)
    return SimpleNamespace(**{method.__name__: on_device(method) for method in methods})


def erf(x):
    """The error function, which CuPy has in a module of its own: cupyx.scipy.special."""
    return boxed(np.vectorize(math.erf, otypes=[x.dtype])(opened(x, "erf")))


class ElementwiseKernel:
    """A kernel is C++: here its NumPy twin (speed/kernels.py) runs in its place."""

    def __init__(self, in_params, out_params, operation, name):
        self.twin, self.takes = kernels.TWINS[name], len(in_params.split(","))
        self.gives = len(out_params.split(","))

    def __call__(self, *args):
        if len(args) not in (self.takes, self.takes + self.gives):
            raise TypeError(f"{self.twin.__name__} takes {self.takes} arguments, not {len(args)}")
        return on_device(self.twin)(*args)


class ReductionKernel(ElementwiseKernel):
    """As above."""

    def __init__(
        self, in_params, out_params, map_expr, reduce_expr, post_map_expr, identity, name, reduce_type
    ):
        super().__init__(in_params, out_params, map_expr, name)

    def __call__(self, *args, axis, keepdims):
        assert axis == -1 and keepdims
        return super().__call__(*args)


def gemmEx(handle, transa, transb, m, n, k, alpha, *rest):
    """cuBLAS's op(A) op(B) -> C, found by their addresses; a matrix lies there column by column."""
    A, Atype, lda, B, Btype, ldb, beta, C, Ctype, ldc, kind, algo = rest
    ones, sums_in_float32 = [ctypes.c_float.from_address(at).value for at in (alpha, beta)], 68
    assert handle and ones == [1, 0] and Ctype == 0 and kind == sums_in_float32 and algo == -1

    def at(address, kind, columns, apart):  # -> (columns, apart): its row j is the column j that cuBLAS sees
        read = {0: ctypes.c_float, 14: ctypes.c_uint16}[kind]
        return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(read)), (columns, apart))

    def op(address, kind, transposed, rows, columns, apart):
        if transposed:
            a = at(address, kind, rows, apart)[:, :columns]
        else:
            a = at(address, kind, columns, apart).T[:rows]
        return (a.astype("uint32") << 16).view("float32") if kind == 14 else a

    asked["gemmEx"] += 1
    at(C, Ctype, n, ldc)[:, :m] = (op(A, Atype, transa, m, k, lda) @ op(B, Btype, transb, k, n, ldb)).T


class CUDARuntimeError(RuntimeError):
    pass


random = SimpleNamespace(default_rng=default_rng, Philox4x3210=np.random.Philox)
linalg = SimpleNamespace(norm=on_device(np.linalg.norm))
special = SimpleNamespace(erf=erf)
cuda = SimpleNamespace(
    runtime=SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=CUDARuntimeError),
    get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
    device=SimpleNamespace(get_cublas_handle=lambda: 1),
    cublas=SimpleNamespace(gemmEx=gemmEx),
)
