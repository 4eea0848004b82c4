#include "datasets/import/csv_reader.h"

#include <algorithm>

#include "core/base/error.h"

namespace lockstep {

CsvReader::CsvReader(const std::string& file, std::string_view content, char delimiter,
                     std::int64_t skip_lines)
    : file_(file), content_(content), delimiter_(delimiter) {
  if (content_.starts_with("\xEF\xBB\xBF")) line_start_ = at_ = 3;
  for (std::int64_t i = 0; i < skip_lines && at_ < content_.size(); ++i) {
    at_ = std::min(content_.find('\n', at_), content_.size());
    skip_end_of_line();
  }
}

bool CsvReader::at_end_of_line() const {
  return at_ >= content_.size() || content_[at_] == '\n' ||
         (content_[at_] == '\r' && (at_ + 1 == content_.size() || content_[at_ + 1] == '\n'));
}

void CsvReader::skip_end_of_line() {
  if (at_ < content_.size() && content_[at_] == '\r') ++at_;
  if (at_ >= content_.size()) return;
  ++at_;
  ++line_;
  line_start_ = at_;
}

void CsvReader::skip_blanks(bool tabs) {
  while (at_ < content_.size() && (content_[at_] == ' ' || (tabs && content_[at_] == '\t'))) ++at_;
}

void CsvReader::read_quoted(CsvField& field) {
  ++at_;
  while (at_ < content_.size()) {
    const char c = content_[at_++];
    if (c == '\n') {
      ++line_;
      line_start_ = at_;
    }
    if (c != '"') {
      field.text += c;
    } else if (at_ < content_.size() && content_[at_] == '"') {
      field.text += '"';
      ++at_;
    } else {
      return;
    }
  }
  bad_input(file_, ":", field.line, ":", field.column, ": the quote that opens here is not closed");
}

void CsvReader::read_plain(CsvField& field) {
  const std::size_t begin = at_;
  const bool blanks = delimiter_ == ' ';
  while (!at_end_of_line() && content_[at_] != delimiter_ && !(blanks && content_[at_] == '\t')) {
    ++at_;
  }
  const std::string_view text = content_.substr(begin, at_ - begin);
  field.text = text.substr(0, text.find_last_not_of(" \t") + 1);
}

bool CsvReader::skip_delimiter() {
  const std::size_t before = at_;
  skip_blanks(delimiter_ != '\t');
  if (at_end_of_line()) return false;
  if (delimiter_ == ' ' && at_ > before) return true;
  if (content_[at_] == delimiter_) {
    ++at_;
    return true;
  }
  bad_input(file_, ":", line_, ":", at_ - line_start_ + 1,
            ": text after a closing quote; expected a delimiter or the end of the line");
}

bool CsvReader::next(std::vector<CsvField>& fields) {
  fields.clear();
  skip_blanks(delimiter_ != '\t');
  while (at_ < content_.size() && at_end_of_line()) {
    skip_end_of_line();
    skip_blanks(delimiter_ != '\t');
  }
  if (at_ >= content_.size()) return false;
  do {
    skip_blanks(delimiter_ != '\t');
    CsvField field{"", line_, static_cast<std::int64_t>(at_ - line_start_) + 1};
    if (at_ < content_.size() && content_[at_] == '"') {
      read_quoted(field);
    } else {
      read_plain(field);
    }
    fields.push_back(std::move(field));
  } while (skip_delimiter());
  skip_end_of_line();
  return true;
}

char guess_delimiter(const std::string& file, std::string_view content, std::int64_t skip_lines) {
  char most_fields = ',';
  std::size_t most = 1;
  for (const char delimiter : {',', '\t', ';', ' '}) {
    std::vector<CsvField> fields;
    std::size_t first = 0;
    bool equal = true;
    try {
      CsvReader reader(file, content, delimiter, skip_lines);
      for (int record = 0; record < 100 && reader.next(fields); ++record) {
        if (record == 0) first = fields.size();
        equal = equal && fields.size() == first;
      }
    } catch (const Error&) {
      continue;  // quotes do not stand where fields of this delimiter begin
    }
    if (equal && first > 1) return delimiter;
    if (first > most) {
      most = first;
      most_fields = delimiter;
    }
  }
  return most_fields;
}

}  // namespace lockstep
