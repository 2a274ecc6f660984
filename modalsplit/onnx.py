"""The encoder as an ONNX graph, for runtimes without Python or torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from scipy.special import erfcx
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from modalsplit.encoder import DisentangledModalityEncoder
from modalsplit.files import whole_file

OPSET = 18
# Of the polynomial for erfcx: its relative error is below 1e-9.
DEGREE = 16


def to_onnx(encoder: DisentangledModalityEncoder, path: str | PathLike[str]) -> None:
    """Write what ``transform`` computes to an ONNX file.

    The graph has one input a modality, of its name, of shape ``(n_items, n_columns)`` and of the dtype that the encoder was
    fitted on; and one output a part, ``image_common`` and so on, of shape ``(n_items, n_components)``. The number of
    items is free.

    Parameters
    ----------
    encoder : DisentangledModalityEncoder
        Fitted. To export a pipeline's, pass ``pipeline["disentangle"]``.
    path : str or Path
        Where to; a file of that name is replaced when the new one is complete.

    Raises
    ------
    ImportError
        If onnx or onnxscript is not installed.
    sklearn.exceptions.NotFittedError
        If the encoder is not fitted.
    OSError
        If the folder is not there or cannot be written to.

    See Also
    --------
    modalsplit.save : Keeps everything, to load it in Python.

    Notes
    -----
    Missing modalities are a row of NaN, as for ``transform``; pass all inputs. With ``missing="translate"`` and
    ``"nan"`` the graph does what ``transform`` does. With ``"error"`` a graph cannot refuse: all parts of an item that
    lacks a modality are NaN.

    Results agree with ``transform`` to rounding errors: below 1e-5 of the parts' root mean square.

    Stability: may change.

    Examples
    --------
    >>> import tempfile, onnxruntime
    >>> from modalsplit import DisentangledModalityEncoder
    >>> from modalsplit.datasets import make_modalities
    >>> from modalsplit.onnx import to_onnx
    >>> data = make_modalities(100, random_state=0)
    >>> encoder = DisentangledModalityEncoder(5, objective="cca", random_state=0).fit(data.X_img, data.X_txt)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(encoder, f"{folder}/encoder.onnx")
    ...     session = onnxruntime.InferenceSession(f"{folder}/encoder.onnx")
    >>> outputs = session.run(["x_common", "y_specific"], {"x": data.X_img[:3], "y": data.X_txt[:3]})
    >>> [part.shape for part in outputs]
    [(3, 5), (3, 5)]
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError("to_onnx needs onnx and onnxscript: pip install 'modalsplit[onnx]'") from error
    check_is_fitted(encoder, "module_")
    names = encoder.modality_names_
    dtype = next(encoder.module_.buffers()).dtype
    views = tuple(torch.zeros(2, width, dtype=dtype) for width in encoder.n_features_per_modality_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, of casts and of its parts
        program = torch.onnx.export(
            _Graph(encoder).eval(),
            (views,),
            input_names=names,
            output_names=[f"{name}_{part}" for part in ("common", "specific") for name in names],
            dynamic_shapes=(tuple({0: torch.export.Dim("n_items")} for _ in views),),
            opset_version=OPSET,
            custom_translation_table=_translations(dtype),
            verbose=False,
            dynamo=True,
            optimize=False,  # takes minutes for what a runtime does when it loads the graph
        )
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # where in our code it comes from
    with whole_file(path) as unfinished:
        onnx.save(program.model_proto, unfinished)


class _Graph(nn.Module):
    """What the encoder's ``transform`` does, in torch alone."""

    support: Tensor

    def __init__(self, encoder: DisentangledModalityEncoder) -> None:
        super().__init__()
        self.split = encoder.module_
        self.translates = encoder.missing == "translate"
        self.register_buffer("support", torch.as_tensor(encoder.common_support_))

    def forward(self, views: Sequence[Tensor]) -> list[Tensor]:
        absent = [view.isnan().any(1, keepdim=True) for view in views]
        parts = [self.split(torch.where(view.isnan(), 0.0, view), modality) for modality, view in enumerate(views)]
        common, specific = ([part[i] for part in parts] for i in (0, 1))
        if self.translates:
            of_others = self._stand_in(common, absent)
            stand_ins = [(of_others * support, 0.0) for support in self.support]
        else:
            stand_ins = [(torch.nan, torch.nan)] * len(views)
        return [
            torch.where(gone, stand_in[i], part)
            for i, of_modalities in enumerate((common, specific))
            for gone, stand_in, part in zip(absent, stand_ins, of_modalities, strict=True)
        ]

    def _stand_in(self, common: Sequence[Tensor], absent: Sequence[Tensor]) -> Tensor:
        """Average each column of the common parts over the modalities that an item has and that show it."""
        shown = [~gone & support for gone, support in zip(absent, self.support, strict=True)]
        total = sum(torch.where(there, part, 0.0) for there, part in zip(shown, common, strict=True))
        count = sum(there.to(common[0].dtype) for there in shown)
        return total / torch.as_tensor(count).clamp(min=1)


def _translations(dtype: torch.dtype) -> dict[Any, Callable[..., Any]]:
    """Functions that ONNX has not, or that its runtime lacks for float64."""
    from onnx import TensorProto, numpy_helper
    from onnxscript import opset18

    op: Any = opset18
    number = torch.empty(0, dtype=dtype).numpy().dtype.type

    def constant(value: float) -> Any:
        return op.Constant(value=numpy_helper.from_array(np.asarray(number(value))))

    def scaled_complementary_error(x: Any) -> Any:
        """Compute erfcx(x), for x >= 0 as t exp(P(2 t - 1)) with t = 2 / (2 + x)."""
        t = op.Div(constant(2), op.Add(op.Abs(x), constant(2)))
        centred = op.Sub(op.Mul(t, constant(2)), constant(1))
        highest, *others = reversed(_exponent())
        exponent = constant(highest)
        for coefficient in others:
            exponent = op.Add(op.Mul(exponent, centred), constant(coefficient))
        of_magnitude = op.Mul(t, op.Exp(exponent))
        reflected = op.Sub(op.Mul(op.Exp(op.Mul(x, x)), constant(2)), of_magnitude)
        return op.Where(op.Less(x, constant(0)), reflected, of_magnitude)

    def gelu(x: Any, approximate: str = "none") -> Any:
        error = op.Erf(op.Cast(op.Mul(x, constant(0.5**0.5)), to=TensorProto.FLOAT))
        return op.Mul(op.Mul(x, constant(0.5)), op.Add(op.Cast(error, to=TensorProto.DOUBLE), constant(1)))

    table: dict[Any, Callable[..., Any]] = {torch.ops.aten.special_erfcx.default: scaled_complementary_error}
    return {**table, torch.ops.aten.gelu.default: gelu} if dtype == torch.float64 else table


def _exponent() -> list[float]:
    """Fit log(erfcx(x) / t) by a polynomial in 2 t - 1, lowest power first."""
    fitted = Chebyshev.interpolate(lambda t: np.log(erfcx(2 / t - 2) / t), DEGREE, domain=[0, 1])
    coefficients: list[float] = fitted.convert(kind=Polynomial, domain=[0, 1], window=[-1, 1]).coef.tolist()
    return coefficients
