// How mpirun is called, and what of its words passes.
#include "launcher/mpirun.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/launcher/message.h"

namespace lockstep {
namespace {

using Words = std::vector<std::string>;
const std::string kRule(74, '-');

// Whether `part` stands somewhere in `words`.
bool has(const Words& words, const Words& part) {
  return std::ranges::search(words, part).begin() != words.end();
}

TEST(Mpirun, OnThisMachine) {
  const Words words = mpirun_words({.mpirun = "/m", .hosts = {}, .workers = 2000}, {});
  EXPECT_EQ(words.front(), "/m");
  EXPECT_TRUE(has(words, {"--bind-to", "none"}));
  EXPECT_TRUE(has(words, {"--mca", "oob_tcp_keepalive_time", "2"}));
  EXPECT_TRUE(has(words, {"--mca", "btl", "self,vader,tcp"}));
  EXPECT_TRUE(has(words, {"--oversubscribe", "-n", "2000"}));
  EXPECT_FALSE(has(words, {"--host"}));
  EXPECT_FALSE(
      has(mpirun_words({.mpirun = "/m", .hosts = {}, .workers = 1}, {}), {"--oversubscribe"}));
}

TEST(Mpirun, OnOtherHosts) {
  const LaunchTarget target{.remote_shell = "my shell", .mca = {"btl_tcp_if_include=eth0"}};
  const std::vector<Host> hosts{{"no-1.invalid", 2}, {"no-2.invalid", 3}};
  const Words words = mpirun_words({.mpirun = "/m", .hosts = hosts, .workers = 0}, target);
  EXPECT_TRUE(has(words, {"--host", "no-1.invalid:2,no-2.invalid:3", "-n", "5"}));
  EXPECT_TRUE(has(words, {"--mca", "plm_rsh_agent", "my shell"}));
  EXPECT_TRUE(has(words, {"--mca", "btl_tcp_if_include", "eth0"}));
  EXPECT_FALSE(has(words, {"pml"}));  // there may be a fast network
  EXPECT_TRUE(has(mpirun_words({.mpirun = "/m", .hosts = hosts, .workers = 6}, target),
                  {"--oversubscribe", "-n", "6"}));
  EXPECT_FALSE(has(mpirun_words({.mpirun = "/m", .hosts = hosts, .workers = 5}, target),
                   {"--oversubscribe"}));
  // One per core, as mpirun counts them there; and as many as Slurm gave.
  EXPECT_FALSE(
      has(mpirun_words({.mpirun = "/m", .hosts = {{"no-1.invalid"}}, .workers = 0}, {}), {"-n"}));
  EXPECT_FALSE(has(mpirun_words({.mpirun = "/m", .hosts = {}, .workers = 0, .allocated = true}, {}),
                   {"-n"}));
}

TEST(Mpirun, IsLookedFor) {
  Environment environment;
  environment.path = {"/absent"};
  EXPECT_EQ(refused([&] { find_mpirun({}, environment); }),
            "mpirun is not in PATH; install openmpi-bin, load the module of Open MPI, or name it "
            "with --mpirun");
  EXPECT_EQ(refused([&] { find_mpirun({.mpirun = "/absent/mpirun"}, environment); }),
            "--mpirun /absent/mpirun: is no program that can be run");
  EXPECT_TRUE(
      refused([&] { mpirun_version("/bin/true"); }).starts_with("/bin/true is not Open MPI's"));
}

TEST(MpirunWords, TheWorkersWordsPassAndMpirunsAreKept) {
  MpirunWords words(false);
  EXPECT_EQ(words.pass("a warn"), "");
  EXPECT_EQ(words.pass("ing\nlockstep: warning: slow\n" + kRule + "\nPrimary job  terminated\n" +
                       kRule + "\n" + kRule + "\nThere are not\n  enough slots.\n"),
            "a warning\nlockstep: warning: slow\n");
  EXPECT_FALSE(words.told());
  EXPECT_EQ(words.blame().host, "");
  // A worker may speak in between.
  EXPECT_EQ(words.pass("lockstep: rank 1 is gone\n" + kRule + "\nlast"),
            "lockstep: rank 1 is gone\n");
  EXPECT_TRUE(words.told());
  EXPECT_EQ(words.told_line(), "rank 1 is gone");
  EXPECT_FALSE(words.told_fault());
  EXPECT_EQ(words.finish(), "last\n");
  EXPECT_EQ(words.cause(), "There are not enough slots.");
  EXPECT_FALSE(words.has_lost_host());
}

TEST(MpirunWords, ALostHostAndAnUnfinishedParagraph) {
  MpirunWords words(false);
  EXPECT_EQ(words.pass("[vm:12] 2 more processes have sent help message help.txt / x\n"), "");
  EXPECT_EQ(words.pass("mpirun: Forwarding signal 10 to job\n"), "");
  EXPECT_EQ(words.pass(kRule + "\nORTE has lost communication with a remote daemon.\n"), "");
  EXPECT_TRUE(words.has_lost_host());
  EXPECT_EQ(words.pass(
                "  HNP daemon   : [[1,0],0] on node head\n  Remote daemon: [[1,0],2] on node h2\n"),
            "");
  EXPECT_EQ(words.lost_host(), "h2");
  words.pass("lockstep: rank 0 on h1 (process 5) is late, in setup, for 1.0 s\n");
  EXPECT_EQ(words.blame().host, "h2");  // which explains the other
  EXPECT_EQ(words.finish(), "");
  EXPECT_EQ(words.cause(),
            "ORTE has lost communication with a remote daemon. HNP daemon : [[1,0],0] on node head "
            "Remote "
            "daemon: [[1,0],2] on node h2");
}

TEST(MpirunWords, WhoIsToBlame) {
  MpirunWords words(false);
  words.pass(kRule + "\nPrimary job  terminated\n" + kRule + "\n" + kRule +
             "\nmpirun noticed that process rank 3 with PID 5 on node h2 exited on signal 9\n(Killed).\n" +
             kRule + "\n");
  EXPECT_EQ(words.blame().host, "h2");
  EXPECT_EQ(words.blame().rank, 3);
  words.pass("lockstep: warning: slow\nlockstep: rank 1 on h1 (process 5) is gone, in data of step 7, for 1.0 s\n");
  EXPECT_TRUE(words.told_fault());
  EXPECT_EQ(words.blame().host, "h1");
  EXPECT_EQ(words.blame().step, 7);
}

TEST(MpirunWords, ComplaintsOfAnMpirunThatIsEndedAreDropped) {
  MpirunWords words(false);
  words.pass_only_workers();
  EXPECT_EQ(words.pass("[vm:1] *** Process received signal ***\nlockstep: rank 1 is gone\n"),
            "lockstep: rank 1 is gone\n");
}

TEST(MpirunWords, AllPassesWhereAllIsWanted) {
  MpirunWords words(true);
  const std::string all = kRule + "\nPrimary job\n" + kRule + "\nlockstep: rank 0: no\n";
  EXPECT_EQ(words.pass(all), all);
  EXPECT_TRUE(words.told());
  EXPECT_EQ(words.cause(), "Primary job");
}

}  // namespace
}  // namespace lockstep
