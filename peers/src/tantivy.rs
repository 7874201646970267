//! tantivy: BM25 with our stop words and the English Snowball stemmer.

use std::path::Path;

use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value};
use tantivy::tokenizer::{Language, LowerCaser, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, doc};

use crate::{Outcome, System, TOP};

/// Memory of each indexing thread.
const WRITER_BYTES: usize = 64 << 20;

pub struct TantivyIndex {
    index: Index,
    writer: IndexWriter,
    reader: IndexReader,
    body: Field,
    number: Field,
}

impl TantivyIndex {
    pub fn open(folder: &Path) -> Outcome<Self> {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("english")
            .set_index_option(IndexRecordOption::WithFreqs);
        let options = TextOptions::default().set_indexing_options(indexing).set_stored();
        let body = schema.add_text_field("body", options);
        let number = schema.add_u64_field("number", STORED);
        let index = Index::create_in_dir(folder, schema.build())?;
        let stop_words = mnemocore::internals::stop_words().map(str::to_owned);
        let english = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(LowerCaser)
            .filter(StopWordFilter::remove(stop_words))
            .filter(Stemmer::new(Language::English))
            .build();
        index.tokenizers().register("english", english);
        // As many as the engine has.
        let threads = std::thread::available_parallelism()?.get();
        let writer = index.writer_with_num_threads(threads, threads * WRITER_BYTES)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { index, writer, reader, body, number })
    }

    fn add(&mut self, number: u64, text: &str) -> Outcome<()> {
        self.writer.add_document(doc!(self.body => text, self.number => number))?;
        Ok(())
    }

    fn commit(&mut self) -> Outcome<()> {
        self.writer.commit()?;
        self.reader.reload()?;
        Ok(())
    }
}

impl System for TantivyIndex {
    fn load(&mut self, texts: &[String]) -> Outcome<()> {
        for (text, number) in texts.iter().zip(0..) {
            self.add(number, text)?;
        }
        self.commit()
    }

    fn merge(&mut self) -> Outcome<()> {
        let segments = self.index.searchable_segment_ids()?;
        if segments.len() > 1 {
            self.writer.merge(&segments).wait()?;
        }
        self.reader.reload()?;
        Ok(())
    }

    fn store(&mut self, text: &str) -> Outcome<()> {
        self.add(u64::MAX, text)?;
        self.commit()
    }

    fn recall(&mut self, question: &str) -> Outcome<Vec<u64>> {
        let parser = QueryParser::for_index(&self.index, vec![self.body]);
        // The parser's own signs are no words of the question.
        let words: String = question
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { ' ' })
            .collect::<String>()
            .to_lowercase();
        let (query, _) = parser.parse_query_lenient(&words);
        let searcher = self.reader.searcher();
        let hits = searcher.search(&query, &TopDocs::with_limit(TOP).order_by_score())?;
        let mut numbers = Vec::with_capacity(hits.len());
        for (_, address) in hits {
            let document: TantivyDocument = searcher.doc(address)?;
            std::hint::black_box(
                document.get_first(self.body).and_then(|text| text.as_str()).map(str::to_owned),
            );
            numbers.extend(document.get_first(self.number).and_then(|number| number.as_u64()));
        }
        Ok(numbers)
    }
}
