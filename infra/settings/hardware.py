"""Hardware profiles: the one name for compute that infrastructure, pipelines and teams share."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from infra.settings.base import InstanceTypeName, Label, LabelValue, ProfileName, Rung, Settings


class Taint(Settings):
    """What keeps pods away that don't tolerate it."""

    key: Label
    value: LabelValue = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class Profile(Settings):
    """One kind of node that a step, a notebook or an endpoint may ask for."""

    description: Annotated[str, Field(min_length=1, max_length=200)]
    """What it is for, in a few words."""
    instance_types: Annotated[tuple[InstanceTypeName, ...], Field(min_length=1, max_length=60)]
    """EC2 instance types, any of which will do. All have the same architecture and the same GPUs."""
    gpu: Annotated[str, Field(pattern=r"^[a-z0-9-]*$")] = ""
    """The GPU's model, as `a10g` or `h100`; nothing for a profile without GPUs."""
    gpus: Annotated[int, Field(ge=0, le=16)] = 0
    """GPUs on each node; pods ask for them as nvidia.com/gpu."""
    capacity: Annotated[tuple[Rung, ...], Field(min_length=1)] = (Rung.RESERVED, Rung.ON_DEMAND, Rung.SPOT)
    """The capacity ladder: what is tried first stands first. For cheap work that may be interrupted, turn it round."""
    max_usd_per_hour: Annotated[float, Field(gt=0)]
    """What one on-demand node may cost an hour at most: an instance type that costs more is refused."""
    disk_gb: Annotated[int, Field(ge=20, le=16_000)] = 100
    """The encrypted root volume, for images and for pods without a volume of their own."""
    efa: bool = False
    """Elastic Fabric Adapter interfaces, for training that spans nodes."""
    placement_group: bool = False
    """Put the nodes close together, in one cluster placement group; not for a reservation, which brings its own."""
    labels: dict[Label, LabelValue] = Field(default={})
    """Labels beyond modelyard.dev/profile, which every node has."""
    taints: tuple[Taint, ...] = ()
    """Taints beyond nvidia.com/gpu, which every GPU node has."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if bool(self.gpu) != bool(self.gpus):
            raise ValueError("gpu and gpus go together: the model and how many of it a node has")
        for name, values in (("instance_types", self.instance_types), ("capacity", self.capacity)):
            if twice := {value for value in values if values.count(value) > 1}:
                raise ValueError(f"{name} has {', '.join(sorted(twice))} twice")
        return self


class HardwareSettings(Settings):
    """`stacks/hardware.yaml`: every hardware profile by its name."""

    profiles: Annotated[dict[ProfileName, Profile], Field(min_length=1)]
