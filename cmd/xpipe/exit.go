package main

// exitHelp says to users what the exit codes of every verb mean; api.KindOf gives them to errors.
const exitHelp = `EXIT STATUS
  0  done
  1  some of several inputs failed, or another error
  2  the command line is wrong
  3  an input (image, tensor, question) is missing, damaged or unfit
  4  the model, graph or tokenizer is missing, damaged or unfit
  5  the engine (ONNX Runtime library, provider) is missing or failed
  6  verification found a difference beyond the tolerance
  130  interrupted`
