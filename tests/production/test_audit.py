"""ddb.audit: what it finds in an account that moto plays, finding by finding, and what it may not see."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.stub import Stubber
from moto import mock_aws

from tasks.localenv.machine.folders import TOOL
from tasks.localenv.production.audit import report
from tasks.localenv.production.audit.capacity import Part, Use, cheaper_provisioned
from tasks.localenv.production.audit.finding import Finding, Look
from tasks.localenv.production.audit.policy import Table, grant_of, matches
from tasks.localenv.production.audit.safety import encryption
from tasks.localenv.production.audit.trails import CHANGE, item_event, logs
from tasks.localenv.settings import read_settings
from tests.support import played
from tests.support.played import Command

TABLE = "cruddur-messages"
ARN = f"arn:aws:dynamodb:us-east-1:123456789012:table/{TABLE}"
INDEX = "message-group-sk-index"


@pytest.fixture(scope="module", autouse=True)
def _own_clients() -> Iterator[None]:
    yield from played.own_clients()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Command]:
    played.set_up(monkeypatch, tmp_path)
    with mock_aws():
        yield played.commands(capfd)


def aws(service: str) -> Any:
    """A client of AWS itself, the one that the audit uses."""
    return played.client(replace(read_settings(), dynamodb=None), service)


@pytest.fixture
def table(run: Command) -> dict[str, Any]:
    """The shipped table, as a new account has it."""
    properties = json.loads((TOOL / "ddb" / "tables" / f"{TABLE}.json").read_text())
    properties["StreamSpecification"]["StreamEnabled"] = True
    made: dict[str, Any] = aws("dynamodb").create_table(**properties)["TableDescription"]
    return made


def examine() -> dict[str, list[Finding]]:
    """Run the report on the table; give its findings by their subject."""
    found: dict[str, list[Finding]] = {}
    pattern = "ddb/streams/policy.json", TOOL / "ddb" / "streams" / "policy.json"
    for finding in report.examine(read_settings(), TABLE, pattern=pattern).findings:
        found.setdefault(finding.subject, []).append(finding)
    return found


def levels(found: dict[str, list[Finding]]) -> dict[str, list[str]]:
    return {subject: [finding.level for finding in findings] for subject, findings in found.items()}


def document(action: Any, resource: Any, **more: Any) -> str:
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource, **more}]}
    )


def denial(action: Any, resource: Any, **more: Any) -> str:
    return document(action, resource, **more).replace("Allow", "Deny")


def test_a_table_as_a_new_account_has_it(run: Command, table: dict[str, Any]) -> None:
    ran = run("ddb.audit")
    assert (ran.code, ran.stdout.splitlines()[0], ran.report) == (
        1,
        f"table {TABLE}, account 123456789012, region us-east-1: 3 problems, 4 advice, 7 ok",
        [f"FAIL ddb.audit table {TABLE}: 3 problems", "hint run the command below each problem"],
    )
    assert levels(examine()) == {
        "deletion protection": ["problem"],
        "point-in-time recovery": ["problem"],
        "backups": ["advice"],
        "encryption": ["ok"],
        "access": ["ok"],
        "resource policy": ["ok"],
        "VPC endpoint": ["advice"],
        "CloudTrail": ["problem"],
        "capacity of the table": ["ok"],
        f"capacity of {INDEX}": ["ok"],
        "billing": ["ok"],
        "time to live": ["ok"],
        "stream": ["advice"],
        "tags": ["advice"],
    }


def test_as_json_it_is_one_object_with_the_error(run: Command, table: dict[str, Any]) -> None:
    ran = run("ddb.audit", format="json")
    told = json.loads(ran.stdout)
    assert (ran.code, told["status"], told["error"]["message"]) == (1, "error", f"table {TABLE}: 3 problems")
    assert told["data"]["findings"][0] == {
        "level": "problem",
        "subject": "deletion protection",
        "evidence": "off: one call deletes the table",
        "fix": f"`aws dynamodb update-table --table-name {TABLE} --deletion-protection-enabled --region us-east-1`",
    }


def test_a_table_that_is_looked_after_has_no_problem(run: Command, table: dict[str, Any]) -> None:
    dynamodb = aws("dynamodb")
    dynamodb.update_table(TableName=TABLE, DeletionProtectionEnabled=True)
    dynamodb.update_continuous_backups(
        TableName=TABLE, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    dynamodb.create_backup(TableName=TABLE, BackupName="first")
    dynamodb.update_time_to_live(
        TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
    )
    dynamodb.tag_resource(ResourceArn=ARN, Tags=[{"Key": "app", "Value": "cruddur"}])
    make_trail()
    found = examine()
    assert [finding for findings in found.values() for finding in findings if finding.level == "problem"] == []
    assert [
        found[subject][0].evidence for subject in ("deletion protection", "time to live", "tags", "CloudTrail")
    ] == [
        "on",
        "on, by the attribute expires_at",
        "app=cruddur",
        "everything logs all regions",
    ]
    assert found["point-in-time recovery"][0].evidence.startswith("on, from 2")
    assert found["backups"][0].evidence.startswith("1 backup, the newest ")
    assert run("ddb.audit").code == 0


def test_the_key_of_a_table_is_looked_at(run: Command) -> None:
    key = aws("kms").create_key()["KeyMetadata"]
    aws("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key["Arn"]},
    )
    assert examine()["encryption"] == [
        Finding("ok", "encryption", f"with a key that this account manages: {key['KeyId']}")
    ]
    aws("kms").disable_key(KeyId=key["KeyId"])
    assert examine()["encryption"] == [
        Finding(
            "problem",
            "encryption",
            f"its key is Disabled: {key['Arn']}",
            f"`aws kms enable-key --key-id {key['Arn']} --region us-east-1`",
        )
    ]
    until = aws("kms").schedule_key_deletion(KeyId=key["KeyId"])["DeletionDate"].astimezone(timezone.utc)
    named = f"--key-id {key['Arn']} --region us-east-1`"
    assert examine()["encryption"] == [
        Finding(
            "problem",
            "encryption",
            f"its key is PendingDeletion (it will be deleted on {until:%Y-%m-%d %H:%M} UTC): {key['Arn']}",
            f"`aws kms cancel-key-deletion {named}, then `aws kms enable-key {named}",
        )
    ]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({}, "cannot be used since 2026-01-02 03:04 UTC: KEY; let DynamoDB use it: kms get-key-policy"),
        ({"KeyState": "PendingImport"}, "is PendingImport and cannot be used since 2026-01-02 03:04 UTC: KEY; "),
        ({"KeyState": "Unavailable", "CustomKeyStoreId": "cks-1"}, "is Unavailable and cannot be used since "),
        (None, "cannot be used since 2026-01-02 03:04 UTC: KEY; kms describe-key"),
    ],
    ids=["its-policy", "its-material", "its-store", "not-seen"],
)
def test_a_key_that_dynamodb_cannot_use_is_told_with_its_state(
    run: Command, state: dict[str, Any] | None, told: str
) -> None:
    sse = {"KMSMasterKeyArn": "KEY", "InaccessibleEncryptionDateTime": datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)}
    with Stubber(aws("kms")) as stub:
        if state is None:
            stub.add_client_error("describe_key", "NotFoundException")
        else:
            stub.add_response("describe_key", {"KeyMetadata": {"KeyId": "KEY", **state}})
        [finding] = encryption(Look(read_settings(), TABLE, {"SSEDescription": sse}))
    said = f"{finding.evidence}; {finding.fix}".replace("`aws ", "").removeprefix("its key ")
    assert (finding.level, said[: len(told)], "enable-key" in finding.fix) == ("problem", told, False)


def make_role(name: str, policy: str, **more: Any) -> None:
    trust = document("sts:AssumeRole", "*")
    aws("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust, **more)
    aws("iam").put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy)


def test_policies_that_are_drawn_too_wide_are_named(run: Command, table: dict[str, Any]) -> None:
    iam = aws("iam")
    shipped = (TOOL / "ddb" / "streams" / "policy.json").read_text()
    make_role("any-action", document("dynamodb:*", ARN))
    make_role("any-table", document(["dynamodb:PutItem", "dynamodb:GetItem"], "*"))
    make_role("reader", document("dynamodb:Get*", "*"))
    make_role("narrow", document("dynamodb:Query", [ARN, f"{ARN}/index/*"]))
    make_role("elsewhere", document("dynamodb:*", ARN.replace(TABLE, "another-table")))
    make_role("of-aws", document("dynamodb:*", "*"), Path="/aws-service-role/replication.dynamodb.amazonaws.com/")
    make_role("stream", shipped)
    iam.create_user(UserName="root-like")
    iam.put_user_policy(UserName="root-like", PolicyName="all", PolicyDocument=document("*", "*"))
    iam.create_group(GroupName="devs")
    managed = iam.create_policy(PolicyName="tables", PolicyDocument=document("dynamodb:*", "*"))["Policy"]["Arn"]
    iam.attach_group_policy(GroupName="devs", PolicyArn=managed)
    file = "--policy-document file://policy.json`"
    assert examine()["access"] == [
        Finding(
            "problem",
            "access",
            "group devs by tables: dynamodb:* on every table",
            f"name actions and table: `aws iam create-policy-version --policy-arn {managed} --set-as-default {file}",
        ),
        Finding(
            "problem",
            "access",
            "role any-action by own: dynamodb:*",
            f"name actions and table: `aws iam put-role-policy --role-name any-action --policy-name own {file}",
        ),
        Finding(
            "problem",
            "access",
            "role any-table by own: GetItem, PutItem on every table",
            f"name actions and table: `aws iam put-role-policy --role-name any-table --policy-name own {file}",
        ),
        Finding(
            "advice",
            "access",
            "role reader by own: GetItem, GetRecords on every table",
            f"name actions and table: `aws iam put-role-policy --role-name reader --policy-name own {file}",
        ),
        Finding(
            "advice",
            "access",
            "may do everything in the account: user root-like",
            "`aws iam generate-service-last-accessed-details --arn ARN` tells what each of them uses",
        ),
        Finding("ok", "access", "role narrow by own: Query"),
        Finding("ok", "access", "role stream by own: DeleteItem, PutItem, Query (as ddb/streams/policy.json)"),
    ]


def put_user_policy(user: str, name: str, policy: str) -> None:
    aws("iam").put_user_policy(UserName=user, PolicyName=name, PolicyDocument=policy)


def test_access_by_an_index_or_a_setting_is_found_and_what_is_denied_is_not(
    run: Command, table: dict[str, Any]
) -> None:
    iam = aws("iam")
    for user in ("by-index", "by-setting", "denied", "denied-by-group", "of-backups", "of-stream"):
        iam.create_user(UserName=user)
    iam.create_group(GroupName="guests")
    put_user_policy("by-index", "own", document("dynamodb:Query", f"{ARN}/index/*"))
    settings = ["dynamodb:UpdateTimeToLive", "dynamodb:CreateBackup", "dynamodb:DescribeTable"]
    put_user_policy("by-setting", "own", document(settings, "*"))
    put_user_policy("of-backups", "own", document(["dynamodb:DeleteBackup", "dynamodb:CreateBackup"], "*"))
    put_user_policy("of-stream", "own", document("dynamodb:GetRecords", f"{ARN}/stream/*"))
    put_user_policy("denied", "own", document("dynamodb:*", "*"))
    put_user_policy("denied", "not", denial("dynamodb:*", "*"))
    put_user_policy("denied-by-group", "own", document("dynamodb:*", "*"))
    iam.put_group_policy(GroupName="guests", PolicyName="not", PolicyDocument=denial("dynamodb:*", "*"))
    iam.add_user_to_group(GroupName="guests", UserName="denied-by-group")
    assert [(finding.level, finding.evidence) for finding in examine()["access"]] == [
        ("problem", "user by-setting by own: CreateBackup, UpdateTimeToLive on every table"),
        ("advice", "user of-backups by own: CreateBackup, DeleteBackup on every table"),
        ("ok", "user by-index by own: Query"),
        ("ok", "user of-stream by own: GetRecords"),
    ]


def test_a_policy_of_aws_can_only_be_taken_away(run: Command, table: dict[str, Any]) -> None:
    """moto has no policy of AWS unless it loads all 1,400: IAM's answer is played."""
    arn = "arn:aws:iam::aws:policy/AmazonDynamoDBFullAccess"
    attached = [{"PolicyName": "AmazonDynamoDBFullAccess", "PolicyArn": arn}]
    version = {"IsDefaultVersion": True, "Document": document("dynamodb:*", "*")}
    with Stubber(aws("iam")) as stub:
        stub.add_response(
            "get_account_authorization_details",
            {
                "RoleDetailList": [{"RoleName": "app", "Path": "/", "AttachedManagedPolicies": attached}],
                "IsTruncated": True,
                "Marker": "m",
            },
        )
        stub.add_response(
            "get_account_authorization_details",
            {"Policies": [{"Arn": arn, "PolicyVersionList": [version]}], "IsTruncated": False},
            {"Marker": "m"},
        )
        [finding] = examine()["access"]
    assert (finding.level, finding.fix) == (
        "problem",
        f"name actions and table in a policy of its own, then `aws iam detach-role-policy --role-name app "
        f"--policy-arn {arn}`",
    )


@pytest.mark.parametrize(
    ("principal", "level", "evidence"),
    [
        ("*", "problem", "open to everyone: its principal is *"),
        (
            {"AWS": "arn:aws:iam::999999999999:root"},
            "advice",
            "admits principals of other accounts: arn:aws:iam::999999999999:root",
        ),
        ({"AWS": "arn:aws:iam::123456789012:role/app"}, "ok", "lets arn:aws:iam::123456789012:role/app in"),
    ],
    ids=["everybody", "another-account", "own-role"],
)
def test_the_tables_own_policy_is_read(
    run: Command, table: dict[str, Any], principal: Any, level: str, evidence: str
) -> None:
    aws("dynamodb").put_resource_policy(ResourceArn=ARN, Policy=document("dynamodb:GetItem", ARN, Principal=principal))
    [finding] = examine()["resource policy"]
    assert (finding.level, finding.evidence) == (level, evidence)


def test_a_vpc_endpoint_is_judged_by_its_policy(run: Command, table: dict[str, Any]) -> None:
    ec2 = aws("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    service = "com.amazonaws.us-east-1.dynamodb"
    policies = document("*", "*", Principal="*"), document("dynamodb:*", ARN, Principal="*")
    made = [
        ec2.create_vpc_endpoint(VpcId=vpc, ServiceName=service, PolicyDocument=policy)["VpcEndpoint"]["VpcEndpointId"]
        for policy in policies
    ]
    ec2.create_vpc_endpoint(VpcId=vpc, ServiceName="com.amazonaws.us-east-1.s3")
    assert sorted((found.level, found.evidence.split(",")[0]) for found in examine()["VPC endpoint"]) == [
        ("advice", f"{made[0]} in {vpc}"),
        ("ok", f"{made[1]} in {vpc}"),
    ]


def make_trail(name: str = "everything", *, region: str = "us-east-1", everywhere: bool = True) -> str:
    """Make a trail and start it; give its ARN."""
    import boto3

    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="trails")
    cloudtrail = boto3.client("cloudtrail", region_name=region)
    made = cloudtrail.create_trail(Name=name, S3BucketName="trails", IsMultiRegionTrail=everywhere)
    cloudtrail.start_logging(Name=name)
    return str(made["TrailARN"])


def typed(fix: str) -> list[str]:
    """Give the words of a command as a shell takes them."""
    return shlex.split(fix.strip("`"))


HISTORY = "who changed the table is on record for 90 days alone, in CloudTrail's Event history"
ITEMS = [{"Type": "AWS::DynamoDB::Table", "Values": [ARN]}]
ALL_ITEMS = {"ReadWriteType": "All", "IncludeManagementEvents": False, "DataResources": ITEMS}
ALL_CHANGES: dict[str, Any] = {"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}


def test_a_trail_counts_while_it_logs_all_regions(run: Command, table: dict[str, Any]) -> None:
    arn = make_trail()
    [advice] = examine()["data events"]
    words = ["aws", "cloudtrail", "put-event-selectors", "--trail-name", arn, "--event-selectors"]
    assert (advice.level, advice.evidence, typed(advice.fix)) == (
        "advice",
        "not logged: who reads and writes items is not on record (optional, and charged per event)",
        [*words, json.dumps([ALL_CHANGES, ALL_ITEMS]), "--region", "us-east-1"],
    )
    aws("cloudtrail").put_event_selectors(TrailName="everything", EventSelectors=[ALL_CHANGES, ALL_ITEMS])
    assert examine()["data events"] == [Finding("ok", "data events", "everything logs who reads and writes items")]
    aws("cloudtrail").stop_logging(Name="everything")
    assert examine()["CloudTrail"] == [
        Finding(
            "problem",
            "CloudTrail",
            f"everything is stopped: {HISTORY}",
            f"`aws cloudtrail start-logging --name {arn} --region us-east-1`",
        )
    ]


def test_a_trail_that_logs_no_changes_does_not_count(run: Command, table: dict[str, Any]) -> None:
    make_trail()
    own = {**ALL_ITEMS, "ReadWriteType": "WriteOnly"}
    aws("cloudtrail").put_event_selectors(TrailName="everything", EventSelectors=[own])
    found = examine()
    told = [*found["CloudTrail"], *found["data events"]]
    assert [(finding.level, finding.evidence, json.loads(typed(finding.fix)[6])) for finding in told] == [
        ("problem", f"everything logs no changes of tables: {HISTORY}", [own, ALL_CHANGES]),
        (
            "advice",
            "everything logs who writes items; who reads them is not on record (optional, and charged per event)",
            [own, ALL_ITEMS],
        ),
    ]


def test_a_trail_of_the_tables_region_alone_is_told_as_that(run: Command, table: dict[str, Any]) -> None:
    arn = make_trail("near", everywhere=False)
    recorded = "who changed the table is on record by near, what is done elsewhere is not"
    assert examine()["CloudTrail"] == [
        Finding(
            "advice",
            "CloudTrail",
            f"no trail of all regions: {recorded}",
            f"`aws cloudtrail update-trail --name {arn} --is-multi-region-trail --region us-east-1`",
        )
    ]


def test_the_command_for_a_trail_goes_to_its_home_region(run: Command, table: dict[str, Any]) -> None:
    import boto3

    arn = make_trail("euro", region="eu-west-1")
    kept: Any = {"Name": "it's all", "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]}
    cloudtrail = boto3.client("cloudtrail", region_name="eu-west-1")
    cloudtrail.put_event_selectors(TrailName="euro", AdvancedEventSelectors=[kept])
    found = examine()
    words = typed(found["data events"][0].fix)
    assert found["CloudTrail"] == [Finding("ok", "CloudTrail", "euro logs all regions")]
    assert (words[5], json.loads(words[6])[0], words[7:]) == (
        "--advanced-event-selectors",
        kept,
        ["--region", "eu-west-1"],
    )
    cloudtrail.put_event_selectors(TrailName="euro", AdvancedEventSelectors=json.loads(words[6]))
    assert levels(examine())["data events"] == ["ok"]
    cloudtrail.stop_logging(Name="euro")
    assert examine()["CloudTrail"][0].fix == f"`aws cloudtrail start-logging --name {arn} --region eu-west-1`"


DATA = {"Field": "eventCategory", "Equals": ["Data"]}
KIND = {"Field": "resources.type", "Equals": ["AWS::DynamoDB::Table"]}
MANAGEMENT = {"Field": "eventCategory", "Equals": ["Management"]}


@pytest.mark.parametrize(
    ("fields", "logged"),
    [
        ([DATA, KIND], "reads writes"),
        ([DATA, KIND, {"Field": "resources.ARN", "Equals": [ARN]}], "reads writes"),
        ([DATA, KIND, {"Field": "resources.ARN", "StartsWith": ["arn:aws:dynamodb:us-east-1:"]}], "reads writes"),
        ([DATA, KIND, {"Field": "resources.ARN", "NotStartsWith": ["arn:aws:dynamodb:us-east-1:"]}], ""),
        ([DATA, KIND, {"Field": "resources.ARN", "Equals": [f"{ARN}-2"]}], ""),
        ([DATA, KIND, {"Field": "readOnly", "Equals": ["false"]}], "writes"),
        ([DATA, KIND, {"Field": "eventName", "Equals": ["DeleteItem"]}], ""),
        ([DATA, {"Field": "resources.type", "Equals": ["AWS::S3::Object"]}], ""),
        ([MANAGEMENT, {"Field": "eventSource", "NotEquals": ["kms.amazonaws.com"]}], "changes"),
        ([MANAGEMENT, {"Field": "readOnly", "Equals": ["true"]}], ""),
    ],
)
def test_advanced_selectors_of_a_trail_are_understood(fields: list[dict[str, Any]], logged: str) -> None:
    assert recorded({"AdvancedEventSelectors": [{"FieldSelectors": fields}]}) == logged


@pytest.mark.parametrize(
    ("selector", "logged"),
    [
        ({}, "changes"),
        ({"ReadWriteType": "ReadOnly"}, ""),
        ({"ReadWriteType": "ReadOnly", "DataResources": ITEMS}, "reads"),
        ({"ReadWriteType": "WriteOnly", "DataResources": ITEMS}, "changes writes"),
        ({"DataResources": [{**ITEMS[0], "Values": ["arn:aws:dynamodb"]}]}, "changes reads writes"),
        ({"DataResources": [{**ITEMS[0], "Values": [ARN[:-1]]}]}, "changes"),
    ],
)
def test_basic_selectors_of_a_trail_are_understood(selector: dict[str, Any], logged: str) -> None:
    assert recorded({"EventSelectors": [selector]}) == logged


def recorded(selectors: dict[str, Any]) -> str:
    reads, writes = item_event(ARN, is_read=True), item_event(ARN, is_read=False)
    events = {"changes": CHANGE, "reads": reads, "writes": writes}
    return " ".join(name for name, event in events.items() if logs(selectors, event))


def consume(metric: str, value: float, *, index: str = "", hours_ago: int = 5) -> None:
    dimensions = [{"Name": "TableName", "Value": TABLE}]
    dimensions += [{"Name": "GlobalSecondaryIndexName", "Value": index}] if index else []
    at = datetime.now(timezone.utc) - timedelta(hours=hours_ago)
    datum = {"MetricName": metric, "Value": value, "Timestamp": at, "Dimensions": dimensions}
    aws("cloudwatch").put_metric_data(Namespace="AWS/DynamoDB", MetricData=[datum])


def test_capacity_is_told_with_its_figures(run: Command, table: dict[str, Any]) -> None:
    consume("ConsumedWriteCapacityUnits", 1350)
    consume("ConsumedReadCapacityUnits", 300)
    consume("ConsumedWriteCapacityUnits", 900, index=INDEX)
    consume("WriteThrottleEvents", 42, index=INDEX)
    consume("ConsumedWriteCapacityUnits", 10_000, hours_ago=24 * 15)
    found = examine()
    scale = "application-autoscaling register-scalable-target --service-namespace dynamodb --resource-id"
    then = "--region us-east-1`, and a policy for it with put-scaling-policy"
    assert [*found["capacity of the table"], *found[f"capacity of {INDEX}"]] == [
        Finding(
            "advice",
            "capacity of the table",
            "write came close to the limit; provisioned 5/5; "
            "used in 14 days: read 0.000248 on average, 1 at most, write 0.00112 on average, 4.5 at most",
            f"scale it: `aws {scale} table/{TABLE} --scalable-dimension dynamodb:table:WriteCapacityUnits "
            f"--min-capacity 5 --max-capacity 40 {then}",
        ),
        Finding(
            "problem",
            f"capacity of {INDEX}",
            "42 writes throttled; provisioned 5/5; "
            "used in 14 days: read 0 on average, 0 at most, write 0.000744 on average, 3 at most",
            f"scale it: `aws {scale} table/{TABLE}/index/{INDEX} --scalable-dimension "
            f"dynamodb:index:WriteCapacityUnits --min-capacity 5 --max-capacity 40 {then}",
        ),
    ]
    aws("application-autoscaling").register_scalable_target(
        ServiceNamespace="dynamodb",
        ResourceId=f"table/{TABLE}",
        ScalableDimension="dynamodb:table:WriteCapacityUnits",
        MinCapacity=5,
        MaxCapacity=50,
    )
    [scaled] = examine()["capacity of the table"]
    assert (scaled.level, scaled.evidence.split(";")[0]) == ("ok", "provisioned 5/5, write scaled 5 to 50")


def test_idle_capacity_beyond_the_free_tier_is_called_dear(run: Command, table: dict[str, Any]) -> None:
    aws("dynamodb").update_table(
        TableName=TABLE, ProvisionedThroughput={"ReadCapacityUnits": 40, "WriteCapacityUnits": 40}
    )
    consume("ConsumedWriteCapacityUnits", 45 * 14 * 86400 * 0.1)
    assert examine()["billing"] == [
        Finding(
            "advice",
            "billing",
            "provisioned, 45/45 units in all, used read 0%, write 10%: under 29% on demand is cheaper",
            f"`aws dynamodb update-table --table-name {TABLE} --billing-mode PAY_PER_REQUEST --region us-east-1`",
        )
    ]


def test_a_table_on_demand_is_told_as_that(run: Command) -> None:
    aws("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    found = examine()
    assert [found[subject][0].evidence.split(";")[0] for subject in ("capacity of the table", "billing", "stream")] == [
        "on demand",
        "on demand, used unsteadily or little",
        "none",
    ]


def a_part(name: str, read: tuple[float, float], write: tuple[float, float]) -> Part:
    """A part on demand; reads and writes are given on average and at their peak."""
    return Part(name, "", "", {}, {"Read": Use(*read, 0), "Write": Use(*write, 0)}, {})


@pytest.mark.parametrize(
    ("average", "level"), [(33.0, "ok"), (36.0, "advice")], ids=["under-its-price", "over-its-price"]
)
def test_units_for_the_peak_are_offered_where_they_cost_less(run: Command, average: float, level: str) -> None:
    parts = [a_part("the table", (average, 100), (average, 100))]
    assert cheaper_provisioned(Look(read_settings(), TABLE, {}), parts).level == level


def test_units_are_offered_for_every_index(run: Command) -> None:
    parts = [a_part("the table", (80, 100), (40, 50)), a_part(INDEX, (0, 0), (30.5, 41))]
    told = cheaper_provisioned(Look(read_settings(), TABLE, {}), parts)
    units = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 50}
    assert (told.evidence, typed(told.fix)[6:]) == (
        "on demand, used steadily: of the 121/110 units that cover its peaks it would use 64%; "
        "over 29% provisioned is cheaper",
        [
            *("PROVISIONED", "--provisioned-throughput", "ReadCapacityUnits=120,WriteCapacityUnits=60"),
            "--global-secondary-index-updates",
            json.dumps([{"Update": {"IndexName": INDEX, "ProvisionedThroughput": units}}]),
            *("--region", "us-east-1"),
        ],
    )


def test_the_functions_that_read_the_stream_are_named(run: Command, table: dict[str, Any]) -> None:
    """moto runs functions in containers; a mapping needs none, but moto would make a function first: it is played."""
    function = "arn:aws:lambda:us-east-1:123456789012:function:group-rows"
    reader = {"UUID": "0f0e0d0c-0000-4000-8000-000000000001", "FunctionArn": function, "State": "Enabled"}
    queue = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:dead"}}
    answers = [{**reader, "DestinationConfig": queue}, reader, {**reader, "State": "Disabled"}]
    with Stubber(aws("lambda")) as stub:
        stub.add_response(
            "list_event_source_mappings",
            {"EventSourceMappings": answers},
            {"EventSourceArn": table["LatestStreamArn"]},
        )
        found = examine()["stream to group-rows"]
    assert [(finding.level, finding.evidence) for finding in found] == [
        ("ok", "NEW_IMAGE, Enabled, failures go to a queue"),
        ("advice", "NEW_IMAGE, Enabled, and a record that fails permanently is lost silently"),
        ("problem", "NEW_IMAGE, and the function is Disabled"),
    ]


SERVICES = ("dynamodb", "iam", "ec2", "cloudtrail", "cloudwatch", "application-autoscaling", "lambda", "kms")


@contextmanager
def denied(*permissions: str) -> Iterator[None]:
    """Refuse these actions, or every one, as AWS does; moto can refuse only those services that answer in XML."""
    with ExitStack() as stack:
        for service in SERVICES:
            events = aws(service).meta.events

            def refuse(model: Any, service: str = service, **_: Any) -> Any:
                if permissions and f"{service}:{model.name}" not in permissions:
                    return None
                error = {"Code": "AccessDeniedException", "Message": "you may not"}
                return SimpleNamespace(status_code=403), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 403}}

            events.register("before-call.*.*", refuse)
            stack.callback(events.unregister, "before-call.*.*", refuse)
        yield


def test_what_may_not_be_looked_at_is_said_with_the_permission(run: Command, table: dict[str, Any]) -> None:
    hidden = {
        "point-in-time recovery": "dynamodb:DescribeContinuousBackups",
        "access": "iam:GetAccountAuthorizationDetails",
        "VPC endpoint": "ec2:DescribeVpcEndpoints",
        "CloudTrail": "cloudtrail:DescribeTrails",
        "capacity": "cloudwatch:GetMetricData",
        "stream": "lambda:ListEventSourceMappings",
    }
    with denied(*hidden.values()):
        found = examine()
    assert {subject: findings for subject, findings in found.items() if findings[0].level == "unknown"} == {
        subject: [
            Finding(
                "unknown",
                subject,
                f"this user may not call {permission}",
                f"have {permission} added to this user's policy, or use another AWS_PROFILE",
            )
        ]
        for subject, permission in hidden.items()
    }
    assert levels(found)["deletion protection"] == ["problem"]


def test_a_user_who_may_see_nothing_gets_a_report_all_the_same(run: Command, table: dict[str, Any]) -> None:
    with denied():
        ran = run("ddb.audit")
    assert (ran.code, ran.stdout.splitlines()[0]) == (
        0,
        f"table {TABLE}, account unknown, region us-east-1: 12 unknown",
    )


def test_a_table_that_is_not_there_is_said(run: Command) -> None:
    ran = run("ddb.audit", table="nothing-here")
    assert (ran.code, ran.report[0]) == (1, "FAIL ddb.audit there is no table nothing-here at AWS in us-east-1")
    assert ran.report[1].startswith("hint run `inv ddb.list-tables --target prod` to see those of the region")


def test_the_target_prod_refuses_an_endpoint_of_the_environment(
    run: Command, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    monkeypatch.setenv("PROD_CONNECTION_URL", "postgresql://root:hush-hush@db.example.com/cruddur")
    assert run("ddb.audit").code == 1
    assert run("ddb.audit", target="prod").report[1] == "hint unset AWS_ENDPOINT_URL"


def granted(policy: str, *beside: str) -> str:
    grant = grant_of(json.loads(policy), Table(ARN, (INDEX,)), [json.loads(one) for one in beside])
    return str(grant) if grant else "nothing"


def test_policies_are_read_as_iam_reads_them() -> None:
    denied = denial("dynamodb:DeleteItem", "*")
    here_and_there = json.loads(document("dynamodb:GetItem", "*"))
    here_and_there["Statement"] += json.loads(document("dynamodb:PutItem", ARN))["Statement"]
    assert [
        granted(document("DynamoDB:getitem", ARN)),
        granted(document("dynamodb:?uery", f"{ARN[:-3]}*")),
        granted(document("s3:*", "*")),
        granted(document(["dynamodb:PutItem", "dynamodb:DeleteItem"], ARN), denied),
        granted(document("dynamodb:Scan", ARN, Condition={"Bool": {"aws:SecureTransport": "true"}})),
        granted(json.dumps({"Statement": {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}})),
        granted(json.dumps({"Statement": {"Effect": "Allow", "Action": "dynamodb:Scan", "NotResource": f"{ARN}*"}})),
        granted(json.dumps({"Statement": {"Effect": "Allow", "Action": "dynamodb:*", "NotResource": ARN}})),
        granted(document("dynamodb:Scan", "arn:aws:dynamodb:us-east-1:${aws:PrincipalAccount}:table/*")),
        granted(document("dynamodb:Scan", ARN), denial("dynamodb:*", "arn:aws:dynamodb:*:*:table/${aws:username}")),
        granted(document("dynamodb:Scan", ARN), denial("dynamodb:*", "*", Condition={"Bool": {"aws:a": "true"}})),
        granted(document("dynamodb:Query", f"{ARN}*"), denial("dynamodb:*", ARN)),
        granted(document("dynamodb:Query", f"{ARN}/index/{INDEX}"), denial("dynamodb:*", f"{ARN}/*")),
        granted(json.dumps(here_and_there)),
        granted(
            document("*", "*"), json.dumps({"Statement": {"Effect": "Deny", "NotAction": "*:GetItem", "Resource": "*"}})
        ),
    ] == [
        "GetItem",
        "Query",
        "nothing",
        "PutItem",
        "Scan under conditions",
        "dynamodb:* on every table",
        "nothing",
        "DeleteBackup, PartiQLSelect, Query, RestoreTableFromBackup, Scan on every table",
        "Scan on every table",
        "Scan",
        "Scan",
        "Query",
        "nothing",
        "PutItem, and GetItem on every table",
        "GetItem on every table",
    ]


def test_a_wildcard_stands_for_what_iam_says() -> None:
    assert [
        matches("a[b]*", "a[b]c"),
        matches("a.c", "abc"),
        matches("A", "a"),
        matches("A", "a", ignore_case=True),
    ] == [
        True,
        False,
        False,
        True,
    ]
