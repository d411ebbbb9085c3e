"""A graph as the tree of its components."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from modelyard.plan.graph import Graph, Resource


@dataclass(frozen=True)
class Branch:
    """A resource and what stands below it."""

    resource: Resource
    below: tuple["Branch", ...]

    def walk(self) -> Iterator[Resource]:
        """The resource and everything below it."""
        yield self.resource
        for branch in self.below:
            yield from branch.walk()


def tree(graph: Graph) -> tuple[Branch, ...]:
    """What stands at the top, in the order of registration."""
    below: dict[str, list[Resource]] = {}
    for resource in graph.resources:
        below.setdefault(resource.parent, []).append(resource)

    def branch(resource: Resource) -> Branch:
        return Branch(resource, tuple(branch(child) for child in below.get(resource.urn, ())))

    return tuple(branch(resource) for resource in below.get("", ()))


def components(graph: Graph) -> dict[str, str]:
    """The name of the part of the architecture that each resource belongs to, by URN.

    That is the component right below the stack's one, as `network` in an environment, or the stack's one itself.
    """
    found: dict[str, str] = {}
    depth: dict[str, int] = {}
    for resource in graph.resources:  # a parent is registered before its children
        depth[resource.urn] = depth[resource.parent] + 1 if resource.parent else 0
        own = depth[resource.urn] == 0 or (depth[resource.urn] == 1 and not resource.custom)
        found[resource.urn] = resource.name if own else found[resource.parent]
    return found


def kind(resource: Resource) -> str:
    """The last word of its type: `NatGateway`."""
    return resource.type.rpartition(":")[2]


def counts(branch: Branch) -> list[tuple[str, int]]:
    """How many cloud resources of each kind stand below, the most frequent first."""
    found = Counter(kind(resource) for resource in branch.walk() if resource.custom)
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
