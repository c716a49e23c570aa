"""rds: the rule that lets a workspace in, and the state of the database. AWS is played by moto in this process."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber
from moto import mock_aws

from tasks.localenv.aws.boto import EXPIRED_HINT
from tasks.localenv.checkout.lock import ProjectLock
from tasks.localenv.errors import LocalEnvError, ServiceFailed, TimedOut, UsageError
from tasks.localenv.production.rds import address
from tasks.localenv.production.rds.address import find_address, parse_address
from tasks.localenv.settings import read_settings
from tests.support import played
from tests.support.environments import PATIENCE_S, environment, inv
from tests.support.played import Command, client

OLD, NEW, SIX = "54.210.1.2", "3.84.5.6", "2600:1f18:42::7"
ACCOUNT = "account unknown, region us-east-1, security group"


@pytest.fixture(scope="module", autouse=True)
def _own_clients() -> Iterator[None]:
    yield from played.own_clients()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Run a command with AWS in this process, keys that must not be shown, and no target."""
    played.set_up(monkeypatch, tmp_path)
    monkeypatch.setenv("LOCALENV_CHECKIP_URL", "http://127.0.0.1:1")
    with mock_aws():
        yield played.commands(capfd)


@dataclass(frozen=True)
class Group:
    """A security group with a rule of its own for this workspace."""

    id: str
    rule: str

    def rules(self) -> list[tuple[str, int, str]]:
        """The ingress rules: range, first port, description."""
        found = ec2().describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [self.id]}])
        return [
            (rule.get("CidrIpv4") or rule.get("CidrIpv6") or "", rule["FromPort"], rule.get("Description", ""))
            for rule in found["SecurityGroupRules"]
            if not rule["IsEgress"]
        ]


def ec2() -> Any:
    return client(read_settings(), "ec2")


def make_group(name: str = "database", *, cidr: str = f"{OLD}/32", ports: tuple[int, int] = (5432, 5432)) -> Group:
    group = ec2().create_security_group(GroupName=name, Description=name)["GroupId"]
    key, field = ("Ipv6Ranges", "CidrIpv6") if ":" in cidr else ("IpRanges", "CidrIp")
    permission = {
        "IpProtocol": "tcp",
        "FromPort": ports[0],
        "ToPort": ports[1],
        key: [{field: cidr, "Description": "GITPOD"}],
    }
    made = ec2().authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
    return Group(group, made["SecurityGroupRules"][0]["SecurityGroupRuleId"])


@pytest.fixture
def group(run: Command, monkeypatch: pytest.MonkeyPatch) -> Group:
    """The group that the settings name, with its rule open to OLD."""
    made = make_group()
    monkeypatch.setenv("DB_SG_ID", made.id)
    monkeypatch.setenv("DB_SG_RULE_ID", made.rule)
    return made


Echo = Callable[..., str]


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Start a service that answers every request the same way; give its URL."""
    with ExitStack() as stack:

        def start(text: str, status: int = 200, wait: threading.Event | None = None) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    if wait:
                        wait.wait(PATIENCE_S)
                    self.send_response(status)
                    self.end_headers()
                    self.wfile.write(text.encode())

                def log_message(self, *args: Any) -> None:
                    pass

            server = HTTPServer(("127.0.0.1", 0), Handler)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            if wait:
                stack.callback(wait.set)
            return f"http://127.0.0.1:{server.server_port}/ip"

        yield start


def test_the_rule_is_opened_to_the_given_address(run: Command, group: Group) -> None:
    ran = run("rds.update-sg-rule", address=f" {NEW} ")
    assert (ran.code, ran.stdout, ran.report, group.rules()) == (
        0,
        "",
        [
            f"rds.update-sg-rule | {ACCOUNT} {group.id}",
            f"ok rds.update-sg-rule 0s {group.rule} of {group.id}: "
            f"{OLD}/32, tcp 5432, GITPOD → {NEW}/32, tcp 5432, GITPOD (--address)",
        ],
        [(f"{NEW}/32", 5432, "GITPOD")],
    )


def test_a_second_time_there_is_nothing_to_do(run: Command, group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITPOD_IP", f"{NEW}/32")
    run("rds.update-sg-rule")
    ran = run("rds.update-sg-rule")
    assert (ran.code, ran.report) == (
        0,
        [f"skip rds.update-sg-rule {group.rule} of {group.id}: {NEW}/32, tcp 5432, GITPOD already (GITPOD_IP)"],
    )
    assert run("rds.update-sg-rule", force=True).report[-1].startswith("ok rds.update-sg-rule 0s")
    assert group.rules() == [(f"{NEW}/32", 5432, "GITPOD")]


def test_a_plan_shows_old_and_new_and_changes_nothing(run: Command, group: Group) -> None:
    ran = run("rds.update-sg-rule", address=NEW, description="CI", plan=True)
    assert (ran.code, ran.stdout.splitlines(), group.rules()) == (
        0,
        [
            "run   rds.update-sg-rule",
            f"      {ACCOUNT} {group.id}",
            f"      ~ {group.rule}: {OLD}/32, tcp 5432, GITPOD → {NEW}/32, tcp 5432, CI",
        ],
        [(f"{OLD}/32", 5432, "GITPOD")],
    )


def test_as_json_it_says_whether_it_changed_anything(run: Command, group: Group) -> None:
    told = {
        "account": "unknown",
        "group": group.id,
        "rule": group.rule,
        "address": NEW,
        "address_source": "--address",
        "old": f"{OLD}/32, tcp 5432, GITPOD",
        "new": f"{NEW}/32, tcp 5432, GITPOD",
    }
    assert run("rds.update-sg-rule", address=NEW, format="json").data == {**told, "changed": True}
    told["old"] = told["new"]
    assert run("rds.update-sg-rule", address=NEW, format="json").data == {**told, "changed": False}


def test_the_port_is_the_one_of_the_production_database(
    run: Command, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = make_group("wide", ports=(5000, 6000))
    monkeypatch.setenv("PROD_CONNECTION_URL", "postgresql://root:hush-hush@db.example.com:5433/cruddur")
    monkeypatch.setenv("DB_SG_ID", wide.id)
    monkeypatch.setenv("DB_SG_RULE_ID", wide.rule)
    assert run("rds.update-sg-rule", address=NEW).code == 0
    assert wide.rules() == [(f"{NEW}/32", 5433, "GITPOD")]


def test_the_address_is_asked_for_where_nobody_gave_one(
    run: Command, group: Group, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITPOD_IP", "")
    monkeypatch.setenv("LOCALENV_CHECKIP_URL", echo(f"{NEW}\n"))
    assert run("rds.update-sg-rule").report[-1].endswith("(asked of 127.0.0.1)")
    assert group.rules() == [(f"{NEW}/32", 5432, "GITPOD")]


def test_it_does_not_wait_for_a_run_that_sets_the_workspace_up(run: Command, group: Group, tmp_path: Path) -> None:
    lock = ProjectLock(tmp_path / "state")
    lock.acquire("inv initial-setup", print)
    try:
        assert run("rds.update-sg-rule", address=NEW).code == 0
    finally:
        lock.release()
    assert group.rules() == [(f"{NEW}/32", 5432, "GITPOD")]


@pytest.mark.parametrize("target", ["local", "prod"])
def test_it_is_about_aws_whatever_the_target_is(
    run: Command, group: Group, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setenv("PROD_CONNECTION_URL", "postgresql://root:hush-hush@db.example.com/cruddur")
    assert run("rds.update-sg-rule", address=NEW, target=target).code == 0
    assert group.rules() == [(f"{NEW}/32", 5432, "GITPOD")]


def test_an_endpoint_that_the_app_is_configured_with_does_not_catch_it(
    run: Command, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    assert run("rds.update-sg-rule", address=NEW).code == 0
    monkeypatch.setenv("PROD_CONNECTION_URL", "postgresql://root:hush-hush@db.example.com/cruddur")
    assert run("rds.update-sg-rule", address=OLD, target="prod").report == [
        "FAIL rds.update-sg-rule AWS_ENDPOINT_URL is set in the environment: "
        "a call meant for AWS would go to http://localhost:1",
        "hint unset AWS_ENDPOINT_URL",
    ]


def test_a_rule_for_ipv6_gets_an_ipv6_address(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """moto takes the call and changes no IPv6 range, so that the answer is played and the request looked at."""
    group = make_group(cidr="2600:1f18::1/128")
    monkeypatch.setenv("DB_SG_ID", group.id)
    monkeypatch.setenv("DB_SG_RULE_ID", group.rule)
    settings = read_settings()
    rules = ec2().describe_security_group_rules(SecurityGroupRuleIds=[group.rule])["SecurityGroupRules"]
    rules[0]["GroupOwnerId"] = "111122223333"  # moto leaves it out
    wanted = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "CidrIpv6": f"{SIX}/128", "Description": "GITPOD"}
    with Stubber(client(settings, "ec2")) as stub:
        for _ in range(2):
            stub.add_response(
                "describe_security_group_rules", {"SecurityGroupRules": rules}, {"SecurityGroupRuleIds": [group.rule]}
            )
        stub.add_response(
            "modify_security_group_rules",
            {"Return": True},
            {
                "GroupId": group.id,
                "SecurityGroupRules": [{"SecurityGroupRuleId": group.rule, "SecurityGroupRule": wanted}],
            },
        )
        ran = run("rds.update-sg-rule", address="2600:1F18:0042:0::7/128")
        stub.assert_no_pending_responses()
    assert ran.report[0] == (f"rds.update-sg-rule | account 111122223333, region us-east-1, security group {group.id}")
    assert (ran.code, ran.report[-1].partition("→")[2]) == (0, f" {SIX}/128, tcp 5432, GITPOD (--address)")


def test_a_rule_for_ipv4_cannot_become_one_for_ipv6(run: Command, group: Group) -> None:
    ran = run("rds.update-sg-rule", address=SIX)
    assert (ran.code, ran.report, group.rules()) == (
        1,
        [
            f"FAIL rds.update-sg-rule rule {group.rule} is for IPv4, and AWS cannot make it one for IPv6",
            "hint add one with `aws ec2 authorize-security-group-ingress --region us-east-1 "
            f"--group-id {group.id} --ip-permissions 'IpProtocol=tcp,FromPort=5432,ToPort=5432,"
            f"Ipv6Ranges=[{{CidrIpv6={SIX}/128,Description=GITPOD}}]'` and set DB_SG_RULE_ID to its id, "
            "or give an address of the other kind with --address",
        ],
        [(f"{OLD}/32", 5432, "GITPOD")],
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("10.1.2.3", "10.1.2.3 is private, or for documentation, not an address that AWS sees"),
        ("127.0.0.1", "127.0.0.1 is a loopback address, not an address that AWS sees"),
        ("169.254.169.254", "169.254.169.254 is link-local, not an address that AWS sees"),
        ("100.64.0.1", "100.64.0.1 is of a provider's shared network (RFC 6598), not an address that AWS sees"),
        ("224.0.0.1", "224.0.0.1 is a multicast address, not an address that AWS sees"),
        ("255.255.255.255", "255.255.255.255 is reserved, not an address that AWS sees"),
        ("0.0.0.0", "0.0.0.0 is unspecified, not an address that AWS sees"),
        ("::1", "::1 is a loopback address, not an address that AWS sees"),
        ("fd00::1", "fd00::1 is private, or for documentation, not an address that AWS sees"),
        ("::ffff:10.1.2.3", "10.1.2.3 is private, or for documentation, not an address that AWS sees"),
        ("fe80::1%eth0", "'fe80::1%eth0' is not an IPv4 or IPv6 address"),
        ("54.210.1.0/24", "54.210.1.0/24 is a range of addresses: the rule is for one workspace alone"),
        ("0.0.0.0/0", "0.0.0.0/0 is a range of addresses: the rule is for one workspace alone"),
        ("<html>blocked</html>", "'<html>blocked</html>' is not an IPv4 or IPv6 address"),
        ("54.210.1", "'54.210.1' is not an IPv4 or IPv6 address"),
    ],
)
def test_what_is_no_public_address_is_refused_before_any_call(given: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_address(read_settings(environ={}), given)
    assert caught.value.message == f"--address: {reason}"


@pytest.mark.parametrize(
    ("given", "meant"),
    [(f" {OLD}/32\n", OLD), ("2600:1F18:0042::0007", SIX), (f"{SIX}/128", SIX), (f"::ffff:{OLD}", OLD)],
)
def test_an_address_is_understood_however_it_is_written(given: str, meant: str) -> None:
    assert str(parse_address(given)) == meant


def test_an_address_from_gitpod_ip_is_checked_like_any_other(
    run: Command, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITPOD_IP", "192.168.0.7")
    ran = run("rds.update-sg-rule")
    assert (ran.code, ran.report) == (
        2,
        [
            "FAIL rds.update-sg-rule GITPOD_IP: 192.168.0.7 is private, or for documentation, "
            "not an address that AWS sees",
            "hint give the public one, as a web page shows it",
        ],
    )


def test_a_service_that_answers_something_else_is_named(echo: Echo) -> None:
    page, private, broken = echo("<html>sign in</html>"), echo("10.0.0.7"), echo("", 503)
    for url, message in (
        (page, f"{page} answered no public address: '<html>sign in</html>' is not an IPv4 or IPv6 address"),
        (private, f"{private} answered no public address: 10.0.0.7 is private, or for documentation, "),
        (broken, f"{broken} answered 503 Service Unavailable"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:1/ does not answer: [Errno "),
    ):
        with pytest.raises(ServiceFailed) as caught:
            address.ask(url)
        assert caught.value.message.startswith(message)
        assert caught.value.hint == "give it: `inv rds.update-sg-rule --address A`"


def test_a_service_that_does_not_answer_in_time_is_left(echo: Echo) -> None:
    url = echo(NEW, wait=threading.Event())
    with pytest.raises(TimedOut) as caught:
        address.ask(url, deadline_s=0.2)
    assert (caught.value.code, caught.value.message) == (5, f"{url} did not say this workspace's address within 0.2 s")


def test_missing_ids_are_named_with_the_way_to_find_them(
    run: Command, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DB_SG_RULE_ID")
    ran = run("rds.update-sg-rule", address=NEW)
    assert (ran.code, ran.report) == (
        2,
        [
            f"FAIL rds.update-sg-rule DB_SG_RULE_ID is not set: the rule of {group.id} for this workspace",
            f"hint `aws ec2 describe-security-group-rules --region us-east-1 --filters Name=group-id,Values={group.id}`"
            " lists the rules; set the id of this workspace's own in .env",
        ],
    )
    monkeypatch.delenv("DB_SG_ID")
    assert run("rds.update-sg-rule", address=NEW).report == [
        "FAIL rds.update-sg-rule DB_SG_ID is not set: the security group of the database",
        "hint run `inv rds.status` to see the group of each database in us-east-1; set its id in .env",
    ]


def test_a_rule_that_does_not_exist_is_said(run: Command, group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_SG_RULE_ID", "sgr-0123456789abcdef0")
    ran = run("rds.update-sg-rule", address=NEW)
    assert (ran.code, ran.report[0]) == (
        1,
        "FAIL rds.update-sg-rule there is no rule sgr-0123456789abcdef0 (DB_SG_RULE_ID) in this account and region",
    )


def test_a_rule_of_another_group_is_left_alone(run: Command, group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_group("other")
    monkeypatch.setenv("DB_SG_RULE_ID", other.rule)
    ran = run("rds.update-sg-rule", address=NEW)
    assert (ran.code, ran.report[0], other.rules()) == (
        1,
        f"FAIL rds.update-sg-rule rule {other.rule} (DB_SG_RULE_ID) belongs to group {other.id}, "
        f"not to {group.id} (DB_SG_ID)",
        [(f"{OLD}/32", 5432, "GITPOD")],
    )


def test_a_rule_for_another_port_or_for_the_way_out_is_left_alone(
    run: Command, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = make_group("ssh", ports=(22, 22))
    monkeypatch.setenv("DB_SG_ID", ssh.id)
    monkeypatch.setenv("DB_SG_RULE_ID", ssh.rule)
    assert run("rds.update-sg-rule", address=NEW).report[0] == (
        f"FAIL rds.update-sg-rule rule {ssh.rule} is no way to the database on tcp 5432: "
        f"it lets {OLD}/32, tcp 22, GITPOD into the group"
    )
    found = ec2().describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [ssh.id]}])
    [out] = [rule["SecurityGroupRuleId"] for rule in found["SecurityGroupRules"] if rule["IsEgress"]]
    monkeypatch.setenv("DB_SG_RULE_ID", out)
    assert run("rds.update-sg-rule", address=NEW).report[0] == (
        f"FAIL rds.update-sg-rule rule {out} is no way to the database on tcp 5432: "
        "it lets 0.0.0.0/0, every port out of the group"
    )
    assert ssh.rules() == [(f"{OLD}/32", 22, "GITPOD")]


def test_a_description_that_ec2_would_refuse_is_refused_here(run: Command, group: Group) -> None:
    ran = run("rds.update-sg-rule", address=NEW, description="Büro")
    assert (ran.code, ran.report[0]) == (
        2,
        "FAIL rds.update-sg-rule --description 'Büro' has a character that EC2 refuses, or more than 255 of them",
    )


@pytest.mark.parametrize(
    ("code", "text", "exit_code", "message", "hint"),
    [
        (
            "UnauthorizedOperation",
            "You are not allowed. Encoded authorization failure message: x9x9x9",
            1,
            "ec2 DescribeSecurityGroupRules: UnauthorizedOperation: You are not allowed.",
            "have ec2:DescribeSecurityGroupRules added to this user's policy, or use another AWS_PROFILE",
        ),
        (
            "RequestExpired",
            "Request has expired.",
            2,
            "ec2 DescribeSecurityGroupRules: RequestExpired: Request has expired.",
            EXPIRED_HINT,
        ),
        (
            "RequestLimitExceeded",
            "Request limit exceeded.",
            1,
            "ec2 DescribeSecurityGroupRules: RequestLimitExceeded: Request limit exceeded.",
            "wait a minute and run the same command again",
        ),
    ],
    ids=["denied", "expired", "throttled"],
)
def test_what_aws_refuses_is_said_with_the_way_out(
    run: Command, group: Group, code: str, text: str, exit_code: int, message: str, hint: str
) -> None:
    """moto refuses nobody, so that the refusal is played."""
    with Stubber(client(read_settings(), "ec2")) as stub:
        stub.add_client_error("describe_security_group_rules", code, text)
        ran = run("rds.update-sg-rule", address=NEW)
    assert (ran.code, ran.report) == (exit_code, [f"FAIL rds.update-sg-rule {message}", f"hint {hint}"])


def test_a_second_rule_for_the_same_address_is_said(run: Command, group: Group) -> None:
    """EC2 refuses it, moto does not: the refusal is played."""
    rules = ec2().describe_security_group_rules(SecurityGroupRuleIds=[group.rule])["SecurityGroupRules"]
    with Stubber(client(read_settings(), "ec2")) as stub:
        for _ in range(2):
            stub.add_response("describe_security_group_rules", {"SecurityGroupRules": rules})
        stub.add_client_error("modify_security_group_rules", "InvalidPermission.Duplicate", "already exists")
        ran = run("rds.update-sg-rule", address=NEW)
    assert (ran.code, ran.report[1]) == (
        1,
        f"FAIL rds.update-sg-rule another rule of {group.id} opens tcp 5432 to {NEW}/32 already",
    )


def test_the_command_as_typed_refuses_a_bad_address_without_a_traceback(tmp_path: Path) -> None:
    ids = {"DB_SG_ID": "sg-0a1b2c3d", "DB_SG_RULE_ID": "sgr-0a1b2c3d"}
    done = inv("rds.update-sg-rule", "--address", "10.0.0.0/8", environ={**environment(tmp_path / "state"), **ids})
    assert (done.code, done.stdout, done.stderr.splitlines()) == (
        2,
        "",
        [
            "FAIL  rds.update-sg-rule  --address: 10.0.0.0/8 is a range of addresses: "
            "the rule is for one workspace alone",
            "      hint                give it: `inv rds.update-sg-rule --address A`",
        ],
    )


def make_instance(group: str, name: str = "cruddur-db", **more: Any) -> str:
    """Make a DB instance; give the host of its endpoint."""
    made = client(read_settings(), "rds").create_db_instance(
        DBInstanceIdentifier=name,
        DBInstanceClass="db.t3.micro",
        Engine="postgres",
        EngineVersion="16.3",
        AllocatedStorage=20,
        StorageType="gp3",
        MasterUsername="root",
        MasterUserPassword="hush-hush",
        VpcSecurityGroupIds=[group],
        **{"BackupRetentionPeriod": 7, "DeletionProtection": True, "PubliclyAccessible": True, **more},
    )["DBInstance"]
    return str(made["Endpoint"]["Address"])


def test_status_shows_the_instance_of_the_production_url_and_the_rule(
    run: Command, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_instance(group.id, "another")
    host = make_instance(group.id)
    monkeypatch.setenv("PROD_CONNECTION_URL", f"postgresql://root:hush-hush@{host}:5432/cruddur")
    monkeypatch.setenv("GITPOD_IP", OLD)
    ran = run("rds.status")
    assert (ran.code, ran.report) == (0, [])
    assert [re.sub(r"  +", ": ", line) for line in ran.stdout.splitlines()] == [
        "instance: cruddur-db",
        "status: available",
        "engine: postgres 16.3, db.t3.micro, 20 GiB gp3",
        f"endpoint: {host}:5432",
        "reached from: the internet, where a rule lets it",
        "multi-AZ: no",
        "backups: kept 7 days",
        "deletion protection: on",
        f"security groups: {group.id}",
        "",
        f"rule {group.rule}: {OLD}/32, tcp 5432, GITPOD",
        f"this workspace: {OLD} (GITPOD_IP)",
    ]


def test_status_says_what_keeps_this_workspace_out(run: Command, group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_group("other")
    make_instance(other.id, BackupRetentionPeriod=0)
    monkeypatch.setenv("GITPOD_IP", NEW)
    ran = run("rds.status", instance="Cruddur-DB", format="json")
    assert (ran.code, ran.data["address"], ran.data["problems"]) == (
        0,
        NEW,
        [
            {
                "subject": "instance cruddur-db",
                "text": "has no backups",
                "hint": "run `aws rds modify-db-instance --region us-east-1 --db-instance-identifier cruddur-db "
                "--backup-retention-period 7 --apply-immediately`",
            },
            {
                "subject": f"rule {group.rule}",
                "text": f"its group {group.id} is not one of instance cruddur-db",
                "hint": f"set DB_SG_ID to one of {other.id}",
            },
            {
                "subject": f"rule {group.rule}",
                "text": f"lets {OLD}/32, tcp 5432, GITPOD in, and this workspace is {NEW} (GITPOD_IP)",
                "hint": "run `inv rds.update-sg-rule`",
            },
        ],
    )


@pytest.mark.parametrize(
    ("host", "text", "hint"),
    [
        (
            "cruddur-db.abc.ca-central-1.rds.amazonaws.com",
            "names a host in ca-central-1, not in us-east-1",
            "set AWS_DEFAULT_REGION=ca-central-1",
        ),
        (
            "db.example.com",
            "names db.example.com, which is no instance's endpoint",
            "correct it, or name one with --instance",
        ),
    ],
    ids=["another-region", "another-host"],
)
def test_status_says_that_the_production_url_names_no_instance(
    run: Command, group: Group, monkeypatch: pytest.MonkeyPatch, host: str, text: str, hint: str
) -> None:
    make_instance(group.id)
    monkeypatch.setenv("PROD_CONNECTION_URL", f"postgresql://root:hush-hush@{host}:5432/cruddur")
    told = run("rds.status", format="json").data
    assert [instance["identifier"] for instance in told["instances"]] == ["cruddur-db"]
    assert told["problems"] == [{"subject": "PROD_CONNECTION_URL", "text": text, "hint": hint}]


def test_status_of_a_stopped_instance_says_when_aws_starts_it_again(run: Command, group: Group) -> None:
    """moto knows no AutomaticRestartTime, so that RDS's answer is played."""
    from datetime import datetime, timezone

    found = {
        "DBInstanceIdentifier": "cruddur-db",
        "DBInstanceStatus": "stopped",
        "BackupRetentionPeriod": 7,
        "AutomaticRestartTime": datetime(2026, 11, 28, 9, 30, tzinfo=timezone.utc),
    }
    with Stubber(client(read_settings(), "rds")) as stub:
        for _ in range(2):
            stub.add_response("describe_db_instances", {"DBInstances": [found]})
        ran = run("rds.status")
        told = run("rds.status", format="json").data
    assert (ran.code, told["instances"][0]["restarts_at"]) == (4, "2026-11-28T09:30:00+00:00")
    assert re.search(r"stopped; AWS starts it again 2026-11-28 09:30 UTC \(in -?\d+\.\d d\)", ran.stdout)
    assert told["problems"][0] == {
        "subject": "instance cruddur-db",
        "text": "is stopped",
        "hint": "run `aws rds start-db-instance --region us-east-1 --db-instance-identifier cruddur-db`",
    }


def test_status_of_an_instance_that_is_not_there_suggests_the_nearest(run: Command, group: Group) -> None:
    make_instance(group.id)
    ran = run("rds.status", instance="crudur-db")
    assert (ran.code, ran.report) == (
        1,
        [
            "FAIL rds.status no DB instance called 'crudur-db' in us-east-1",
            "hint did you mean 'cruddur-db'?",
        ],
    )


def test_status_reads_all_pages(run: Command) -> None:
    """A page of moto's holds a hundred, as RDS's does: two pages are played."""
    from tasks.localenv.aws.wire import AwsApi
    from tasks.localenv.production.rds.instances import fetch_instances

    settings = read_settings()
    with Stubber(client(settings, "rds")) as stub:
        stub.add_response("describe_db_instances", {"DBInstances": [{"DBInstanceIdentifier": "b"}], "Marker": "m"})
        stub.add_response("describe_db_instances", {"DBInstances": [{"DBInstanceIdentifier": "a"}]}, {"Marker": "m"})
        assert [found.identifier for found in fetch_instances(AwsApi(settings, "rds"))] == ["a", "b"]


def test_status_with_no_instance_at_all_ends_with_4(run: Command) -> None:
    ran = run("rds.status")
    assert (ran.code, ran.stdout) == (4, "no DB instance in us-east-1; AWS_DEFAULT_REGION names the region\n")


def test_without_credentials_it_is_said_where_to_put_them(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(LocalEnvError, match="no complete AWS credentials found"):
        client(read_settings(), "rds")
