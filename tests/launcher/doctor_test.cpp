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

// Some GPUs. Two of them reach each other where both are of the same group.
class SomeGpus final : public GpuBackend {
 public:
  explicit SomeGpus(std::vector<int> groups, int major = 9) : groups_(std::move(groups)), major_(major) {}
  int version() const override { return kVersion; }
  std::vector<std::pair<std::string, std::string>> libraries() const override { return {{"driver", "580.1"}, {"CUDA", "13.0"}}; }
  std::string architectures() const override { return "80-real,90-real"; }
  int device_count(std::string&) const override { return static_cast<int>(groups_.size()); }
  GpuDescription describe(int) const override {
    return {.name = "NVIDIA X", .uuid = "GPU-1", .bus = "0000:1b:00.0", .memory = 85'000'000'000, .major = major_, .minor = 0};
  }
  bool peer_access(int from, int to) const override { return groups_.at(from) == groups_.at(to); }
  std::unique_ptr<Device> make_device(int, const GpuOptions&) const override { return nullptr; }

 private:
  const std::vector<int> groups_;
  const int major_;
};

std::vector<std::string> lines_of(const GpuBackend& backend, const std::string& nccl) {
  std::vector<std::string> out;
  examine_gpus(backend, nccl, [&](const Finding& finding) { out.push_back(line(finding)); });
  return out;
}

TEST(Doctor, Gpus) {
  EXPECT_EQ(lines_of(SomeGpus({0}), ""),
            (std::vector<std::string>{
                "  OK       GPU 0           NVIDIA X, 85.0 GB, compute capability 9.0, at 0000:1b:00.0",
                "  OK       GPU libraries   driver 580.1, CUDA 13.0, no NCCL"}));
  const auto pair = lines_of(SomeGpus({0, 0}), "2.28.9");
  ASSERT_EQ(pair.size(), 4u);
  EXPECT_EQ(pair[2], "  OK       GPU libraries   driver 580.1, CUDA 13.0, NCCL 2.28.9");
  EXPECT_EQ(pair[3], "  OK       GPU to GPU      both reach each other's memory");
  EXPECT_TRUE(lines_of(SomeGpus({0, 0}), "")[2].starts_with("  WARNING  GPU libraries")) << "without NCCL";
}

TEST(Doctor, GpusThatDoNotReachEachOther) {
  EXPECT_TRUE(lines_of(SomeGpus({0, 1, 0}), "2")[4].starts_with(
      "  WARNING  GPU to GPU      0 and 1, 1 and 2 do not reach each other's memory; "));
  const std::string many = lines_of(SomeGpus({0, 0, 0, 0, 1, 1, 1, 1}), "2").back();
  EXPECT_NE(many.find("1 and 4, 1 and 5 and 10 more pairs do not"), std::string::npos) << many;
}

TEST(Doctor, GpusThatThisBuildIsNotMadeFor) {
  EXPECT_TRUE(lines_of(SomeGpus({0}, 7), "")[0].ends_with(
      "; Lockstep needs 8.0 or more; hide it with CUDA_VISIBLE_DEVICES, or use --device cpu"));
  EXPECT_TRUE(lines_of(SomeGpus({0}, 12), "")[0].ends_with(
      ", for which this build is not made (80-real,90-real); build it with -D LOCKSTEP_CUDA_ARCHITECTURES=120"));
}

TEST(Doctor, WhatAModuleIsCompiledFor) {
  const std::string usual = "80-real,90-real,100";
  for (const auto& [major, minor, runs] :
       {std::tuple(7, 5, false), std::tuple(8, 0, true), std::tuple(8, 9, true), std::tuple(9, 0, true), std::tuple(10, 3, true),
        std::tuple(12, 0, true)}) {  // the last one by PTX
    EXPECT_EQ(is_compiled_for(usual, major, minor), runs) << major << '.' << minor;
  }
  EXPECT_FALSE(is_compiled_for("80-real,90-real", 10, 0));
  EXPECT_FALSE(is_compiled_for("86-real", 8, 0));
  EXPECT_TRUE(is_compiled_for("80-virtual", 9, 0));
  EXPECT_TRUE(is_compiled_for("90a", 9, 0));
  EXPECT_FALSE(is_compiled_for("90a-real", 10, 0));
  EXPECT_TRUE(is_compiled_for("native", 7, 0));  // who knows
}

TEST(Doctor, ThisMachineIsExamined) {
  std::vector<Finding> findings;
  examine_machine([&](const Finding& finding) { findings.push_back(finding); });
  ASSERT_GE(findings.size(), 7u);  // more where there are GPUs
  EXPECT_EQ(findings[0].what, "processor");
  EXPECT_NE(findings[0].found.find("AVX2"), std::string::npos);
  EXPECT_NE(findings[5].found.find("oneDNN "), std::string::npos);
  EXPECT_NE(findings[5].found.find("HDF5 1."), std::string::npos);
  for (const Finding& finding : findings) EXPECT_NE(finding.found, "") << finding.what;
}

}  // namespace
}  // namespace lockstep
