import json

import pytest

from infra.aws.database import Database, DatabaseArgs, Engine, secret_arn
from infra.settings.base import Lifetime, Security
from infra.settings.environment import DatabaseSettings

ENGINES = list(Engine)


@pytest.fixture
def build(deploy):
    def run(engine=Engine.POSTGRESQL, lifetime="durable", security="standard", **settings):
        args = DatabaseArgs(
            environment="dev",
            account_id="123456789012",
            region="us-east-1",
            engine=engine,
            settings=DatabaseSettings(**settings),
            security=Security(security),
            lifetime=Lifetime(lifetime),
            vpc_id="vpc-1",
            subnet_ids=["subnet-a", "subnet-b"],
            client_security_group_id="sg-nodes",
        )
        return deploy(lambda: Database("tracking-database", args))

    return run


def parameters(inputs):
    return {each["name"]: each["value"] for each in inputs["tracking-database-parameters"]["parameters"]}


def test_the_password_is_made_and_rotated_by_rds_and_no_input_holds_one(build):
    instance = build().inputs["tracking-database-instance"]
    assert instance["manageMasterUserPassword"] is True
    assert instance["masterUserSecretKmsKeyId"] == "arn:aws:test:::tracking-database-key"
    assert not {"password", "passwordWo"} & set(instance), "a password given here would lie in the state"


@pytest.mark.parametrize(
    ("engine", "parameter", "value"),
    [(Engine.POSTGRESQL, "rds.force_ssl", "1"), (Engine.MYSQL, "require_secure_transport", "1")],
)
def test_connections_without_tls_are_refused(build, engine, parameter, value):
    assert parameters(build(engine).inputs)[parameter] == value


def test_ml_metadata_can_log_in_to_mysql(build):
    inputs = build(Engine.MYSQL).inputs
    assert parameters(inputs)["authentication_policy"] == "*:mysql_native_password", "it knows no other way"
    assert inputs["tracking-database-parameters"]["family"] == "mysql8.4"


@pytest.mark.parametrize("engine", ENGINES)
def test_rds_upgrades_minor_versions_so_only_the_major_one_is_asked_for(build, engine):
    inputs = build(engine).inputs
    instance = inputs["tracking-database-instance"]
    assert instance["autoMinorVersionUpgrade"] is True
    assert inputs["tracking-database-parameters"]["family"] == f"{engine.value}{instance['engineVersion']}"
    assert instance["engineVersion"] in {"17", "8.4"}, "a minor version would be a downgrade after RDS's own upgrade"


def test_storage_password_insights_and_logs_are_encrypted_with_the_databases_own_key(build):
    inputs = build().inputs
    instance = inputs["tracking-database-instance"]
    assert instance["storageEncrypted"] is True
    used = {instance["kmsKeyId"], instance["performanceInsightsKmsKeyId"], instance["masterUserSecretKmsKeyId"]}
    used |= {inputs[f"tracking-database-{log}"]["kmsKeyId"] for log in instance["enabledCloudwatchLogsExports"]}
    assert used == {"arn:aws:test:::tracking-database-key"}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_log_goes_to_a_group_that_exists_and_forgets_in_time(build, engine):
    for security, days in (("standard", 365), ("hardened", 731)):
        inputs = build(engine, security=security).inputs
        logs = inputs["tracking-database-instance"]["enabledCloudwatchLogsExports"]
        assert logs
        for log in logs:
            group = inputs[f"tracking-database-{log}"]
            assert group["name"] == f"/aws/rds/instance/dev-tracking-database/{log}", "RDS would make its own, for ever"
            assert group["retentionInDays"] == days


def test_only_the_nodes_reach_it_at_its_port_and_never_from_outside(build):
    for engine, port in ((Engine.POSTGRESQL, 5432), (Engine.MYSQL, 3306)):
        deployed = build(engine)
        (rule,) = [urn for urn in deployed.urns if "SecurityGroupIngressRule" in urn]
        inputs = deployed.inputs[rule.rpartition("::")[2]]
        assert inputs["referencedSecurityGroupId"] == "sg-nodes"
        assert (inputs["fromPort"], inputs["toPort"]) == (port, port)
        assert not {"cidrIpv4", "cidrIpv6"} & set(inputs)
        assert deployed.inputs["tracking-database-instance"]["publiclyAccessible"] is False
        group = deployed.inputs["tracking-database-group"]
        assert not {"ingress", "egress"} & set(group), "rules stand on their own, and nothing may leave"


def test_a_durable_database_survives_a_zone_a_mistake_and_its_stack(build):
    instance = build(lifetime="durable").inputs["tracking-database-instance"]
    assert instance["multiAz"] is True
    assert instance["deletionProtection"] is True
    assert instance["skipFinalSnapshot"] is False
    assert instance["deleteAutomatedBackups"] is False
    assert instance["backupRetentionPeriod"] == 35


def test_a_throwaway_database_leaves_nothing(build):
    instance = build(lifetime="throwaway").inputs["tracking-database-instance"]
    assert instance["multiAz"] is False
    assert instance["deletionProtection"] is False
    assert instance["skipFinalSnapshot"] is True
    assert instance["deleteAutomatedBackups"] is True
    assert instance["backupRetentionPeriod"] == 7


def test_people_and_pods_may_log_in_by_iam(build):
    assert build().inputs["tracking-database-instance"]["iamDatabaseAuthenticationEnabled"] is True


def test_it_grows_by_itself_up_to_what_the_settings_allow(build):
    instance = build(storage_gb=50, max_storage_gb=300).inputs["tracking-database-instance"]
    assert (instance["allocatedStorage"], instance["maxAllocatedStorage"]) == (50, 300)


def test_a_database_that_isnt_to_grow_has_no_ceiling_which_rds_would_refuse(build):
    assert "maxAllocatedStorage" not in build(storage_gb=50, max_storage_gb=50).inputs["tracking-database-instance"]


def test_only_rds_monitoring_of_this_account_takes_the_monitoring_role(build):
    trust = json.loads(build().inputs["tracking-database-monitoring"]["assumeRolePolicy"])
    (statement,) = trust["Statement"]
    assert statement["Principal"] == {"Service": "monitoring.rds.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}


def test_a_plan_knows_no_secret_yet():
    assert secret_arn(None) == ""
