// Lists and files of hosts: what they say, and what is refused with its place.
#include "launcher/hosts.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/launcher/message.h"

namespace lockstep {
namespace {

std::string list_message(const std::string& list) {
  return refused([&] { parse_hosts(list); });
}

// The path of a file with that content.
std::string file_of(const std::string& content) {
  const std::string path = ::testing::TempDir() + "lockstep-hosts";
  std::ofstream(path) << content;
  return path;
}

TEST(Hosts, AListIsReadAndWrittenForMpirun) {
  const auto hosts = parse_hosts("h1:4,node-2.example.org,10.0.0.3:1");
  ASSERT_EQ(hosts.size(), 3u);
  EXPECT_EQ(hosts[0].name, "h1");
  EXPECT_EQ(hosts[0].workers, 4);
  EXPECT_EQ(hosts[1].workers, 0);
  EXPECT_EQ(for_mpirun(hosts), "h1:4,node-2.example.org:auto,10.0.0.3:1");
}

TEST(Hosts, AMalformedListIsRefused) {
  EXPECT_EQ(list_message("h1:4,,h2"),
            "--hosts: '' is no host; expected NAME or NAME:WORKERS, as h1:4,h2:4");
  EXPECT_EQ(list_message("h1:0"),
            "--hosts: expected a number of workers from 1 on after h1, found '0'; write h1:4");
  EXPECT_EQ(list_message("h1:four"),
            "--hosts: expected a number of workers from 1 on after h1, found 'four'; write h1:4");
  EXPECT_EQ(
      list_message("h1:1000000"),
      "--hosts: expected a number of workers from 1 on after h1, found '1000000'; write h1:4");
  EXPECT_EQ(list_message("h1 h2"),
            "--hosts: 'h1 h2' is no host; expected NAME or NAME:WORKERS, as h1:4,h2:4");
  EXPECT_EQ(list_message("-oProxyCommand=x"),
            "--hosts: '-oProxyCommand=x' is no host; expected NAME or NAME:WORKERS, as h1:4,h2:4");
  EXPECT_EQ(list_message("h1,h2,h1:2"),
            "--hosts: h1 occurs twice; give each host once, with all its workers");
}

TEST(Hosts, AFileIsOpenMpisHostfile) {
  const std::string path = file_of("# our machines\nh1 slots=4\n\nh2:2  # the small one\nh3\n");
  EXPECT_EQ(for_mpirun(read_hostfile(path)), "h1:4,h2:2,h3:auto");
  EXPECT_EQ(for_mpirun(hosts_of("", path)), "h1:4,h2:2,h3:auto");
}

TEST(Hosts, ALineForEachWorkerAsPbsAndLsfWriteThem) {
  EXPECT_EQ(for_mpirun(read_hostfile(file_of("n1\nn1\nn2\nn1\nn2\nn3\n"))), "n1:3,n2:2,n3:1");
  // One line each says nothing of the number.
  EXPECT_EQ(for_mpirun(read_hostfile(file_of("n1\nn2\n"))), "n1:auto,n2:auto");
  const std::string path = file_of("n1\nn2\nn2:3\n");
  EXPECT_EQ(refused([&] { read_hostfile(path); }),
            path + ":3: n2 occurs twice; give each host once, with all its workers");
}

TEST(Hosts, WorkersOfTheRest) {
  const std::vector<Host> all{{"h1", 4}, {"h2", 4}, {"h3", 2}};
  EXPECT_EQ(workers_of_rest(10, all, {{"h1", 4}, {"h3", 2}}), 6);
  // mpirun fills one host after another: h2 has 2 of 6, h3 none.
  EXPECT_EQ(workers_of_rest(6, all, {{"h1", 4}, {"h3", 2}}), 4);
  EXPECT_EQ(workers_of_rest(6, all, {{"h2", 4}}), 2);
  EXPECT_EQ(workers_of_rest(4, all, {{"h3", 2}}), 1);
  // More workers than room are spread over all.
  EXPECT_EQ(workers_of_rest(20, all, {{"h1", 4}, {"h2", 4}}), 16);
  EXPECT_EQ(workers_of_rest(6, {{"h1"}, {"h2"}, {"h3"}}, {{"h1"}, {"h3"}}), 4);
}

TEST(Hosts, TwoNamesOfOneHost) {
  EXPECT_TRUE(is_same_host("n1", "n1"));
  EXPECT_TRUE(is_same_host("n1", "n1.example.org"));
  EXPECT_FALSE(is_same_host("n1", "n2"));
  EXPECT_FALSE(is_same_host("n1", "n12"));
  EXPECT_FALSE(is_same_host("", ""));
  EXPECT_TRUE(is_same_host("localhost", "127.0.0.1"));
  EXPECT_FALSE(is_same_host("10.0.0.1", "10.0.0.2"));
}

TEST(Hosts, AMalformedFileIsRefusedWithItsLine) {
  const std::string path = file_of("h1\nh2 4\n");
  EXPECT_EQ(refused([&] { read_hostfile(path); }),
            path + ":2: unexpected '4'; expected NAME slots=WORKERS");
  file_of("h1\nh2 slots=x\n");
  EXPECT_EQ(refused([&] { read_hostfile(path); }),
            path + ":2: expected a number of workers from 1 on after h2, found 'x'; write h2:4");
  file_of("# nobody\n");
  EXPECT_EQ(refused([&] { read_hostfile(path); }),
            path + ": names no host; expected one a line, as: h1 slots=4");
  EXPECT_NE(refused([&] { read_hostfile("/absent/hosts"); }).find("/absent/hosts"),
            std::string::npos);
  EXPECT_EQ(refused([&] { hosts_of("h1", path); }), "--hosts and --hostfile exclude each other");
}

TEST(Hosts, ThisMachineIsKnown) {
  EXPECT_TRUE(is_this_machine("localhost"));
  EXPECT_FALSE(is_this_machine("no-such-host.invalid"));
  EXPECT_TRUE(all_on_this_machine({{"localhost"}}));
  EXPECT_FALSE(all_on_this_machine({{"localhost"}, {"no-such-host.invalid"}}));
  std::string why;
  EXPECT_EQ(address_of("localhost", why), "127.0.0.1");
  EXPECT_EQ(address_of("no-such-host.invalid", why), "");
  EXPECT_NE(why, "");
  EXPECT_GE(usable_cores(), 1);
}

}  // namespace
}  // namespace lockstep
