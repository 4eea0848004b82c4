// A hidden folder beside the files of a set in which they are made: .NAME.importing-XXXXXXXX. It is
// removed with the object; what a killed process left is removed by the next one. A file `lock` in
// it, locked by flock(2), tells whether the process that made it lives.
#pragma once

#include <string>
#include <vector>

namespace lockstep {

class StagingFolder {
 public:
  // Removes the folders of dead processes for the same name first. REQUIRES: `output` exists.
  StagingFolder(const std::string& output, const std::string& name);
  ~StagingFolder();
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;

  // The path of a file in the folder.
  std::string path(const std::string& file) const { return folder_ + "/" + file; }

  // Moves finished, synced files to the output folder and syncs that.
  void publish(const std::vector<std::string>& files) const;

 private:
  std::string output_, folder_;
  int lock_ = -1;  // descriptor
};

}  // namespace lockstep
