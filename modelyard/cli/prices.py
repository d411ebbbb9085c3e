"""modelyard prices: what AWS's things cost, and from where and when that is known."""

import fnmatch
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli.options import JsonOption
from modelyard.cli.output import Screen, table
from modelyard.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from infra.catalog import Price

ADDRESS = "https://pricing.us-east-1.amazonaws.com"

app = typer.Typer(help="The prices that plans are made with.", no_args_is_help=True)


@app.command(epilog="Example: modelyard prices show g5.xlarge 'nat-gateway-*' --region us-east-1")
def show(
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ITEM]...",
            help="Items, or instance types with or without -spot, also as patterns or parts of names; all items by"
            " default.",
        ),
    ] = None,
    region: Annotated[str, typer.Option("--region", metavar="REGION", help="The AWS region.")] = "us-east-1",
    as_json: JsonOption = False,
) -> None:
    """Show what is known of prices in a region, with source and date."""
    from infra import catalog

    _check(region)
    chosen = _chosen(items, catalog.prices(region), catalog.unit_prices(region))
    rows = [(item, f"{price.usd:g}", price.unit, price.source, price.date) for item, price in chosen.items()]
    screen = Screen(as_json=as_json)
    screen.show(table(["item", "US dollars", "a", "source", "of"], rows, right=["US dollars"]))
    told = [{"item": item, **asdict(price), "date": price.date.isoformat()} for item, price in chosen.items()]
    screen.finish({"region": region, "prices": told})


@app.command(epilog="Example: modelyard prices refresh --region us-east-1 --region eu-central-1")
def refresh(
    regions: Annotated[
        list[str] | None,
        typer.Option("--region", metavar="REGION", help="A region, as often as wanted; all known ones by default."),
    ] = None,
    address: Annotated[
        str, typer.Option("--address", envvar="MODELYARD_PRICE_LIST", metavar="URL", help="Where the price list is.")
    ] = ADDRESS,
    as_json: JsonOption = False,
) -> None:
    """Renew the prices from AWS's public price list, and with AWS credentials the zones that offer instance types.

    It reads some hundred megabytes a region. Spot prices are in no list and stay as they are. After any failure all
    tables are as before.
    """
    from infra import catalog
    from modelyard.prices import refresh as renew

    for region in regions or ():
        _check(region)
    screen = Screen(as_json=as_json)
    renewed = renew(dict.fromkeys(regions or catalog.regions()), address, screen.note)
    for one in renewed:
        if one.ambiguous:
            screen.note(
                f"{one.region}: the list has more than one price for {', '.join(one.ambiguous)}; they stay as they were"
            )
    rows = [
        (one.region, one.published, one.instance_types, one.items, "renewed" if one.zones else "as before")
        for one in renewed
    ]
    columns = ["region", "list of", "instance types", "other prices", "zones"]
    screen.show(table(columns, rows, right=["instance types", "other prices"]))
    screen.finish({"regions": [{**asdict(one), "published": one.published.isoformat()} for one in renewed]})


def _check(region: str) -> None:
    from components.spelling import did_you_mean
    from infra import catalog

    if region not in catalog.regions():
        raise RefusedError(f"--region {region} is not known; {did_you_mean(region, catalog.regions())}")


def _chosen(items: list[str] | None, prices: "dict[str, Price]", of_items: "Collection[str]") -> "dict[str, Price]":
    from components.spelling import did_you_mean

    if not items:
        return {item: prices[item] for item in of_items}
    found = {wanted: _named(wanted, prices) for wanted in items}
    if unknown := [wanted for wanted, names in found.items() if not names]:
        raise RefusedError(
            "\n".join(f"no price is known for {wanted!r}; {did_you_mean(wanted, prices)}" for wanted in unknown)
        )
    return {name: prices[name] for names in found.values() for name in names}


def _named(wanted: str, names: "Collection[str]") -> list[str]:
    """What matches, or else what has it in its name."""
    return fnmatch.filter(names, wanted) or [name for name in names if wanted and wanted in name]
