"""The tag by which what an interrupted `up` has made is found again: whose it is, by stack and logical name."""

import pulumi

MARK = "modelyard:resource"


def mark_of(stack: str, name: str) -> str:
    """The value of a resource's tag `modelyard:resource`."""
    return f"{stack}/{name}"


def marked(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """Tag what can have tags; it is to be passed on to all that is below a component, as a transformation.

    What the provider gives its default tags to has `tags_all`.
    """
    if not args.type_.startswith("aws:") or "tags_all" not in args.props:
        return None
    mark = {MARK: mark_of(pulumi.get_stack(), args.name)}
    own = args.props["tags"] if args.props.get("tags") is not None else {}
    tags = own | mark if isinstance(own, dict) else pulumi.Output.from_input(own).apply(lambda tags: {**tags, **mark})
    return pulumi.ResourceTransformationResult({**args.props, "tags": tags}, args.opts)
