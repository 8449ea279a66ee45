package graph

// The roles of graphs, as the key "graphs" of xpipe.json names them. BUNDLE.md lists the inputs
// and outputs of each.
const (
	Decoder         = "decoder"          // continues text, with a key/value cache
	EmbedTokens     = "embed_tokens"     // ids -> embeddings
	LMHead          = "lm_head"          // a decoder's states -> logits, where it gives none
	Encoder         = "encoder"          // the text encoder of an encoder-decoder
	AudioEncoder    = "audio_encoder"    // features of a sound -> rows in a decoder's width
	CrossKV         = "cross_kv"         // states -> keys and values of a decoder's cross-attention
	VisionEncoder   = "vision_encoder"   // pixels -> patches or an embedding
	TextEncoder     = "text_encoder"     // ids -> an embedding
	QFormer         = "qformer"          // patches -> queries
	Resampler       = "resampler"        // patches -> latents
	QuestionEncoder = "question_encoder" // question and patches -> keys and values
	Matcher         = "matcher"          // text and patches -> a matching state
	RegionEncoder   = "region_encoder"   // pixels of a region -> its features
	TextDetector    = "text_detector"    // a page -> where text is
	TextDirection   = "text_direction"   // lines of text -> which stand on their head
	TextRecognizer  = "text_recognizer"  // lines of text -> characters, for CTC
	Model           = "model"            // the whole model in one graph

	// Optimum may write a decoder as two graphs, one for the first step and one for later steps.
	DecoderFirst = "decoder_model"
	DecoderNext  = "decoder_with_past_model"
)

// Names of tensors that graphs of several roles share, as transformers.js and optimum write them.
const (
	InputIDs      = "input_ids"      // [B,T] int64
	AttentionMask = "attention_mask" // [B,T] int64, 1 where a token is
	PixelValues   = "pixel_values"   // [B,3,H,W]
	ImageEmbeds   = "image_embeds"   // [B,N,D] patches, or [B,E] an embedding
	InputsEmbeds  = "inputs_embeds"  // [B,T,D]
	Logits        = "logits"         // [B,T,V] or [B,A]
	PooledOutput  = "pooled_output"  // [B,D]
	VisualFeats   = "visual_feats"   // [B,R,F]
	PositionIDs   = "position_ids"   // [B,T] int64, from 0
	CachePosition = "cache_position" // [T] int64, the same for all rows
	TokenTypeIDs  = "token_type_ids" // [B,T] int64, 1 where a decoder's position is a row of a picture

	EncoderStates = "encoder_hidden_states" // [B,S,D], what cross-attention reads
	LastStates    = "last_hidden_state"     // [B,N,D], of an encoder
	ImageFeatures = "image_features"        // [B,N,D] or [N,D], in the decoder's width
	AudioFeatures = "audio_features"        // the same of sounds
	InputFeatures = "input_features"        // what an encoder hears: [B,mels,frames] or [B,frames,mels]

	ImageAttentionMask = "image_attention_mask"   // [B,T,I] which picture a token attends to
	CrossAttentionGate = "cross_attention_gate"   // [B,T] 1 where it attends to any
	EncoderMask        = "encoder_attention_mask" // [B,S] int64, 1 where cross-attention may read
	SeenPlaces         = "images_seq_mask"        // [B,T] bool: where a graph of embeddings sets pictures' rows
	SeenRows           = "images_emb_mask"        // [B,n,N] bool: which of their rows it sets there
	LogitsToKeep       = "num_logits_to_keep"     // int64: of the last positions; 0: of all

	PastPrefix    = "past_key_values." // a decoder's cache as an input
	PresentPrefix = "present."         // the cache as an output
	CrossInfix    = ".encoder."        // in both: keys and values of cross-attention
)
