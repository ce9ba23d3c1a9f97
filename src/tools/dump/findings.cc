#include "tools/dump/findings.h"

#include <initializer_list>

#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

constexpr char kProblem[] = "problem";
constexpr char kNote[] = "note";
constexpr char kCheck[] = "check";

Json ToJson(const std::string& type, const Finding& finding) {
  const Place& place = finding.place;
  Json json{{"type", type}, {"what", finding.what}, {"check", finding.check}};
  if (!place.file.empty()) json["file"] = place.file;
  if (place.offset) json["offset"] = *place.offset;
  if (!place.family.empty()) json["family"] = place.family;
  if (place.index) json["index"] = place.index->value();
  if (!place.key.empty()) json["key"] = Base64(place.key);
  if (place.revision) json["revision"] = RevisionText(*place.revision);
  if (!finding.means.empty()) json["means"] = finding.means;
  if (!finding.advice.empty()) json["do"] = finding.advice;
  return json;
}

std::string Text(const Json& record, const char* field) {
  return record.contains(field) ? record[field].get<std::string>() : "";
}

std::string PlaceText(const Json& record) {
  std::string text;
  for (const auto& [field, label] :
       std::initializer_list<std::pair<const char*, const char*>>{{"file", ""},
                                                                  {"offset", "offset "},
                                                                  {"family", "column family "},
                                                                  {"index", "index "},
                                                                  {"key", "key "},
                                                                  {"revision", "revision "}}) {
    if (!record.contains(field)) continue;
    std::string value = record[field].is_string() ? Text(record, field) : record[field].dump();
    if (field == std::string_view("key")) {
      value = "\"" + store::Printable(FromBase64(value).value_or(value)) + "\"";
    }
    text += (text.empty() ? "" : ", ") + std::string(label) + value;
  }
  return text;
}

std::string FindingText(const Json& record) {
  std::string text = Text(record, "check") + ": " + Text(record, "what");
  if (const std::string place = PlaceText(record); !place.empty()) text += "\n  where: " + place;
  if (record.contains("means")) text += "\n  means: " + Text(record, "means");
  if (record.contains("do")) text += "\n  do: " + Text(record, "do");
  return text;
}

std::string CheckText(const Json& record) {
  const auto problems = record["problems"].get<uint64_t>();
  std::string text = problems == 0 ? "ok" : "BAD, " + std::to_string(problems) + " problem(s)";
  text += ": " + Text(record, "check") + ": " + Text(record, "looked_at");
  if (record.contains("not_shown")) {
    text += "; " + record["not_shown"].dump() + " of the problems are not shown (--limit 0 does)";
  }
  return text;
}

}  // namespace

std::string RevisionText(store::Revision revision) {
  return std::to_string(revision.main) +
         (revision.sub == 0 ? "" : "." + std::to_string(revision.sub));
}

void Findings::Problem(const Finding& finding) {
  ++problems_;
  const uint64_t of_check = ++by_check_[finding.check];
  if (shown_max_ == 0 || of_check <= shown_max_) sink_(ToJson(kProblem, finding));
}

void Findings::Note(const Finding& finding) { sink_(ToJson(kNote, finding)); }

void Findings::Done(const std::string& check, const std::string& looked_at) {
  const uint64_t problems = by_check_[check];
  Json json{{"type", kCheck}, {"check", check}, {"problems", problems}, {"looked_at", looked_at}};
  if (shown_max_ != 0 && problems > shown_max_) json["not_shown"] = problems - shown_max_;
  sink_(json);
}

void ShowFinding(const Json& record, Report* report) {
  const std::string type = Text(record, "type");
  if (type == kProblem) {
    Json fields = record;
    fields.erase("type");
    fields.erase("what");
    const bool text = report->output().format == Format::kText;
    report->Problem(text ? FindingText(record) : Text(record, "what"), fields);
    return;
  }
  report->Record([&] { return type == kNote ? "note: " + FindingText(record) : CheckText(record); },
                 [&] { return record; });
}

}  // namespace raftkv::tools::dump
