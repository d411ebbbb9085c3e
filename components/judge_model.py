"""The step that holds a model against the rules and the champion."""

from kfp import dsl

from components.step import step


@step
def judge_model(
    evaluation: dsl.Input[dsl.Artifact],
    test: dsl.Input[dsl.Dataset],
    report: dsl.Output[dsl.Artifact],
    rules: dict,  # type: ignore[type-arg]  # kfp takes a plain dict
    group: str,
    model_name: str,
    tracking_uri: str,
) -> None:
    """Write the report: each rule with its number and limit. It refuses nothing; the gate does."""
    from pathlib import Path

    import pandas as pd

    from components.science.evaluation import Evaluation
    from components.science.judging import judge, score_rival
    from components.science.rules import read_rules
    from components.services.registry import Registry

    found, wanted = Evaluation.model_validate_json(Path(evaluation.path).read_text()), read_rules(rules)
    registry, rival = Registry(tracking_uri), None
    if wanted.champion and (champion := registry.champion(model_name)):
        split = {name: test.metadata[name] for name in ("test_share", "split_seed")}
        same_split = split.items() <= champion.parameters.items()
        rival = score_rival(
            champion.version,
            registry.model_bytes(champion),
            pd.read_parquet(test.path),
            group,
            has_seen_them=champion.data_digest == test.metadata["digest"] and not same_split,
        )
    verdict = judge(found, wanted, rival)
    Path(report.path).write_text(verdict.model_dump_json(indent=2))
    report.metadata.update(passed=verdict.passed, rules=len(verdict.rules))
