// Records of a delimited text file. The format:
//
//   file       = [ byte order mark ] { skipped line } [ header ] { record }
//   header     = record
//   record     = field { delimiter field } end        an empty line is passed over
//   end        = LF | CR LF | end of file
//   field      = quoted | plain
//   quoted     = '"' { character | '""' } '"'          may hold delimiters and ends of lines; '""'
//   is '"' plain      = { character }                         blanks at both ends are cut off
//   delimiter  = ',' | TAB | ';' | blanks              one or more blanks and tabs are one
//   delimiter
//
// The text is UTF-8. Errors are bad_input with FILE:LINE:COLUMN, both counted from 1, columns in
// bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep {

struct CsvField {
  std::string text;
  std::int64_t line = 0;
  std::int64_t column = 0;
};

class CsvReader {
 public:
  // `file` is the name for messages, `content` its bytes; both outlive the reader. `delimiter` is
  // ',', '\t',
  // ';' or ' ' (blanks). Passes over the first `skip_lines` lines.
  CsvReader(const std::string& file, std::string_view content, char delimiter,
            std::int64_t skip_lines);

  // Reads the next record into `fields`; false at the end.
  bool next(std::vector<CsvField>& fields);

 private:
  bool at_end_of_line() const;
  void skip_end_of_line();
  void skip_blanks(bool tabs);
  void read_quoted(CsvField& field);
  void read_plain(CsvField& field);
  // Passes over the delimiter behind a field; false where the record ends.
  bool skip_delimiter();

  const std::string& file_;
  std::string_view content_;
  char delimiter_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
  std::size_t line_start_ = 0;
};

// The delimiter that cuts the first 100 records into the same number of fields, more than one;
// tried in the order comma, tab, semicolon, blanks. Where none does, the one that finds most fields
// in the first record.
char guess_delimiter(const std::string& file, std::string_view content, std::int64_t skip_lines);

}  // namespace lockstep
