// The judgements of lockstep doctor, and how they are written.
#include "launcher/doctor.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <vector>

namespace lockstep {
namespace {

std::string line(const Finding& finding) {
  return to_line(finding, false);
}

TEST(Doctor, AFindingIsOneLine) {
  EXPECT_EQ(line({Verdict::kOk, "memory", "much"}), "  OK       memory          much");
  EXPECT_EQ(line({Verdict::kFailed, "the host of a long name", "is gone", "find it"}),
            "  FAILED   the host of a long name  is gone; find it");
  EXPECT_EQ(to_line({Verdict::kWarning, "cores", "few"}, true),
            "  \033[33mWARNING\033[0m  cores           few");
}

TEST(Doctor, Cores) {
  EXPECT_EQ(line(judge_cores(8, 8, 0)), "  OK       cores           8 cores");
  EXPECT_EQ(line(judge_cores(1, 8, 1)),
            "  OK       cores           1 core of 8 threads of this machine may be used");
  EXPECT_EQ(line(judge_cores(8, 8, 2.5)),
            "  WARNING  cores           8 cores, but the container may use only 2.5 of them; start "
            "at most 2 workers with -n, or raise its limit");
  EXPECT_EQ(judge_cores(8, 8, 0.5).remedy, "start at most 1 workers with -n, or raise its limit");
  EXPECT_EQ(judge_cores(8, 8, 8).verdict, Verdict::kOk);
}

TEST(Doctor, OpenFiles) {
  EXPECT_EQ(judge_open_files(256).verdict, Verdict::kWarning);
  EXPECT_EQ(judge_open_files(256).found, "the limit is 256");
  EXPECT_EQ(judge_open_files(1024).verdict, Verdict::kOk);
  EXPECT_EQ(judge_open_files(RLIM_INFINITY).found, "no limit");
}

TEST(Doctor, VersionsOfMpi) {
  const auto judge = [](const std::string& linked, const std::string& started) {
    return judge_mpi_versions(linked, "/m", started);
  };
  const std::string linked = "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4";
  EXPECT_EQ(line(judge(linked, "mpirun (Open MPI) 4.1.4")),
            "  OK       mpirun          /m, Open MPI 4.1.4");
  const Finding near = judge(linked, "mpirun (Open MPI) 4.1.6");
  EXPECT_EQ(near.verdict, Verdict::kWarning);
  EXPECT_EQ(near.found, "/m is of Open MPI 4.1.6, this program uses 4.1.4");
  EXPECT_EQ(judge(linked, "mpirun (Open MPI) 5.0.3").verdict, Verdict::kFailed);
  EXPECT_EQ(judge("MPICH Version: 4.0.2\nmore", "mpirun (Open MPI) 4.1.4").found,
            "this program uses 'MPICH Version: 4.0.2'");
  EXPECT_EQ(judge("", "mpirun (Open MPI) 4.1.4").verdict, Verdict::kFailed);
}

TEST(Doctor, Clocks) {
  EXPECT_EQ(line(judge_clock("h1", -0.25, 0.1)),
            "  OK       clock of h1     0.25 s behind (+- 0.10 s)");
  EXPECT_EQ(judge_clock("h1", 1.5, 0.6).verdict, Verdict::kOk);  // it may be right
  EXPECT_EQ(judge_clock("h1", 1.5, 0.2).verdict, Verdict::kWarning);
  EXPECT_EQ(judge_clock("h1", -90, 0.2).verdict, Verdict::kWarning);
}

TEST(Doctor, ThisMachineIsExamined) {
  std::vector<Finding> findings;
  examine_machine([&](const Finding& finding) { findings.push_back(finding); });
  ASSERT_EQ(findings.size(), 7u);
  EXPECT_EQ(findings[0].what, "processor");
  EXPECT_NE(findings[0].found.find("AVX2"), std::string::npos);
  EXPECT_NE(findings[5].found.find("oneDNN "), std::string::npos);
  EXPECT_NE(findings[5].found.find("HDF5 1."), std::string::npos);
  for (const Finding& finding : findings) EXPECT_NE(finding.found, "") << finding.what;
}

}  // namespace
}  // namespace lockstep
