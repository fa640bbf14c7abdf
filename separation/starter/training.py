"""Training: AdamW with a cosine, an exponential moving average, checkpoints to go on from.

Owns the optimisation and its checkpoint. Examples come from `data`, the network from `network`, what is lowered from
`loss`; `export` ships it.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from separation.starter import health
from separation.starter.data import crop_samples
from separation.starter.loss import EVEN, separation_loss
from separation.starter.network import SEGMENT
from separation.starter.replicas import Replicas

CHECKPOINT = "checkpoint.pt"
FLOOR_RATE = 1e-6
MAX_NORM = 5.0


@dataclass(frozen=True)
class Recipe:
    """How to train: for `steps`, or for `minutes` of wall time if given. `half` runs the network in bfloat16.

    `parts` is how many pieces a batch is cut into, each with a thread of its own: on a CPU, two cores on each
    operation were no faster than one. `emphasis` is each source's weight in the loss; `only` names the parts of
    the network that learn (`decoder.0`), all if none. Raises ValueError.
    """

    steps: int = 1500
    minutes: float | None = None
    batch: int = 4
    seconds: float = float(SEGMENT)
    rate: float = 3e-3
    warmup: int = 60
    decay: float = 0.998
    seed: int = 0
    device: str = "cpu"
    half: bool = True
    parts: int = 1
    save_every: float = 180.0
    emphasis: tuple[float, ...] = EVEN
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("steps", "minutes", "batch", "parts", "seconds", "rate", "warmup"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} has to be above 0; {value} is not")
        if not (all(0 <= weight < math.inf for weight in self.emphasis) and any(self.emphasis)):
            raise ValueError(f"An emphasis is weights of 0 or more, at least one above; {self.emphasis} is none")

    def done(self, step: int, elapsed: float) -> float:
        """The part of the budget that is spent; 1 or more means the end."""
        return step / self.steps if self.minutes is None else elapsed / (60 * self.minutes)

    def learning_rate(self, step: int, done: float) -> float:
        """A linear warm-up times half a cosine (Loshchilov and Hutter 2017, without restarts)."""
        return self.rate * min(1.0, (step + 1) / self.warmup) * (0.5 + 0.5 * math.cos(math.pi * done)) + FLOOR_RATE


@dataclass(frozen=True)
class Progress:
    """After `step` steps and `elapsed` seconds: the mean loss since the last report, and the part done."""

    step: int
    elapsed: float
    loss: float
    done: float


class Source(Protocol):
    """Where examples come from: `data.Clips`, or `pool.Pool` on a GPU."""

    def batches(self, size: int, samples: int, seed: int, first_step: int = 0) -> Iterator[torch.Tensor]:
        """Endless batches from step `first_step` on, (size, sources, channels, samples)."""
        ...


class CheckpointError(ValueError):
    """The checkpoint is damaged, or of another training."""


class Trainer:
    """One training run: a network, its average and its optimiser."""

    def __init__(self, network: torch.nn.Module, recipe: Recipe, clock: Callable[[], float] = time.monotonic) -> None:
        self.recipe, self.clock = recipe, clock
        self.network = network.to(recipe.device).train()
        freeze_others(self.network, recipe.only)
        if recipe.device == "cpu":
            health.keep_exact(self.network)
        self.average = copy.deepcopy(self.network).eval()
        self._halved = recipe.half and recipe.device != "cpu"
        self._replicas = Replicas(self.network, recipe.parts, self._halved)
        self._threads = ThreadPoolExecutor(recipe.parts, thread_name_prefix="replica")
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, betas=(0.9, 0.99), weight_decay=1e-4)
        self.step = 0
        self.elapsed = 0.0

    @property
    def done(self) -> float:
        return self.recipe.done(self.step, self.elapsed)

    def train_on(self, stems: torch.Tensor) -> torch.Tensor:
        """One step on a batch of stems, (batch, sources, channels, samples); returns its loss, a scalar."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate(self.step, self.done)
        self.optimiser.zero_grad(set_to_none=True)
        parts = stems.chunk(self.recipe.parts)
        shares = [len(part) / len(stems) for part in parts]
        losses = list(self._threads.map(self._gradients, self._replicas.modules, parts, shares))
        self._replicas.gather()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_NORM)
        self.optimiser.step()
        self._replicas.spread()
        self._move_average()
        self.step += 1
        return torch.stack(losses).sum()

    def _gradients(self, network: torch.nn.Module, stems: torch.Tensor, share: float) -> torch.Tensor:
        """Leave the gradients of a part of the batch, which counts as `share` of it, in the replica."""
        stems = stems.to(self.recipe.device)
        with torch.autocast(self.recipe.device, torch.bfloat16, enabled=self.recipe.half and not self._halved):
            estimates = network(stems.sum(dim=1))
        loss = share * separation_loss(estimates.float(), stems, self.recipe.emphasis)
        loss.backward()
        return loss.detach()

    def _move_average(self) -> None:
        decay = min(self.recipe.decay, (1 + self.step) / (10 + self.step))
        move = get_ema_multi_avg_fn(decay)
        move(list(self.average.parameters()), list(self.network.parameters()), None)

    def run(self, source: Source, folder: Path, on_progress: Callable[[Progress], None], every: int = 10) -> None:
        """Train until the budget is spent, keeping a checkpoint in `folder`. Raises OSError."""
        samples = crop_samples(self.recipe.seconds)
        started, saved = self.clock() - self.elapsed, self.clock()
        losses: list[torch.Tensor] = []
        for stems in source.batches(self.recipe.batch, samples, self.recipe.seed, self.step):
            if self.done >= 1:
                break
            losses.append(self.train_on(stems))
            self.elapsed = self.clock() - started
            if self.step % every == 0:
                on_progress(Progress(self.step, self.elapsed, float(torch.stack(losses).mean()), self.done))
                losses.clear()
            if self.clock() - saved > self.recipe.save_every:
                self.save(folder / CHECKPOINT)
                saved = self.clock()
        self.save(folder / CHECKPOINT)

    def save(self, path: Path) -> None:
        """Write the checkpoint; an interruption leaves the one before."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        torch.save(
            {
                "model": self.network.state_dict(),
                "ema": self.average.state_dict(),
                "opt": self.optimiser.state_dict(),
                "step": self.step,
                "elapsed": self.elapsed,
                "seed": self.recipe.seed,
            },
            unfinished,
        )
        unfinished.replace(path)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint. Raises `CheckpointError`, OSError."""
        state = read_checkpoint(path, self.recipe.device)
        if state.get("seed", self.recipe.seed) != self.recipe.seed:
            raise CheckpointError(f"{path.name} is of a training with seed {state['seed']}; give another folder")
        try:
            self.network.load_state_dict(state["model"])
            self.average.load_state_dict(state["ema"])
            self.optimiser.load_state_dict(state["opt"])
            self.step, self.elapsed = int(state["step"]), float(state["elapsed"])
            self._replicas.spread()
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path.name} is of another network; give another folder") from error


def precise(recipe: Recipe, network: torch.nn.Module, stems: torch.Tensor) -> Recipe:
    """The recipe, in float32 where this CPU's gradients in bfloat16 are others; stems as in `health.gradient`."""
    if recipe.half and recipe.device == "cpu" and health.agreement(network, stems) < health.AGREEMENT:
        return replace(recipe, half=False)
    return recipe


def freeze_others(network: torch.nn.Module, only: Sequence[str]) -> None:
    """Let the parts of these names learn and no others; all, if none is named. Raises ValueError for one that is none.

    A part that is drawn anew is noise to the trained ones around it: learning with it, they silence it before it has
    learnt what helps them.
    """
    names = [name for name, _ in network.named_parameters()]
    for part in only:
        if not any(name.startswith(f"{part}.") for name in names):
            raise ValueError(f"The network has no part {part}")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not only or name.startswith(tuple(f"{part}." for part in only)))


def prepare(seed: int, parts: int) -> None:
    """Seed the weights that are drawn next; with several parts each operation keeps to one core, and a GPU
    chooses its convolutions by trying."""
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = True
    if parts > 1:
        torch.set_num_threads(1)


def read_checkpoint(path: Path, device: str = "cpu") -> dict[str, Any]:
    """A checkpoint's tensors and numbers; nothing else is ever unpickled. Raises `CheckpointError`, OSError."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise CheckpointError(f"{path.name} is damaged; delete it to begin again") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path.name} is not a checkpoint of a training")
    return state
